"""`edgeexit info`: what a bundle holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle, Exit, Segment, Tensor

_DTYPE_BYTES: Final = {
    "bool": 1, "int8": 1, "uint8": 1, "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2,
    "float32": 4, "int32": 4, "uint32": 4, "float64": 8, "int64": 8, "uint64": 8,
}  # fmt: skip


@click.command("info", short_help="Describe a bundle: exits, work, tensors, settings.")
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(bundle: str, as_json: bool) -> int:
    """Describe BUNDLE, the name of a bundle that ships or the path of a folder."""
    from edgeexit.bundle import load_bundle  # noqa: PLC0415  loads NumPy-free code, but protobuf

    document = describe(load_bundle(bundle))
    click.echo(json.dumps(document, indent=1) if as_json else _as_text(document))
    return 0


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return what there is to know of a bundle, as it is printed with --json.

    Work is for one sample. An exit's cumulative share is the work of all segments up to it and of its own head, in
    parts of the whole network without its early exits; its head share is the head's work in parts of that of
    the segments since the exit before.
    """
    return {
        "name": bundle.name,
        "path": str(bundle.path),
        "digest": bundle.digest,
        "created_by": bundle.manifest.created_by,
        "inputs": [_tensor(tensor) for tensor in bundle.inputs],
        "preprocess": None
        if bundle.preprocess is None
        else {name: getattr(bundle.preprocess, name) for name in ("mode", "size", "layout", "scale", "mean", "std")},
        "class_count": bundle.class_count,
        "labels": bundle.labels,
        "full_name": bundle.full_name,
        "compression": bundle.compression,
        "macs": _whole_macs(bundle),
        "parameters": sum(s.parameters for s in bundle.segments) + sum(e.parameters for e in bundle.exits),
        "bytes": sum(record.size for record in bundle.manifest.files.values()),
        "segments": [_segment(bundle, index, segment) for index, segment in enumerate(bundle.segments)],
        "exits": [_exit(bundle, exit_) for exit_ in bundle.exits],
        "rules": _rules(bundle),
        "certificates": _certificates(bundle),
        "predictor": bundle.read_predictor() is not None,
    }


def _whole_macs(bundle: Bundle) -> int:
    own = bundle.manifest.own_macs
    return sum(segment.macs for segment in bundle.segments) + bundle.exits[-1].macs if own is None else own


def _tensor(tensor: Tensor) -> dict[str, Any]:
    sizes = None if tensor.shape is None else [size for size in tensor.shape[1:] if isinstance(size, int)]
    known = sizes is not None and tensor.shape is not None and len(sizes) == len(tensor.shape) - 1
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "bytes": prod(sizes) * _DTYPE_BYTES[tensor.dtype] if known and sizes is not None else None,
    }


def _segment(bundle: Bundle, index: int, segment: Segment) -> dict[str, Any]:
    return {
        "index": index,
        "file": segment.used.file,
        "bytes": bundle.manifest.files[segment.used.file].size,
        "precision": segment.precision,
        "precisions": segment.precisions,
        "macs": segment.used.macs,
        "parameters": segment.used.parameters,
        "outputs": [_tensor(bundle.tensors[name]) for name in segment.outputs],
    }


def _exit(bundle: Bundle, exit_: Exit) -> dict[str, Any]:
    macs = [segment.macs for segment in bundle.segments]
    before = bundle.exits[exit_.index - 1].segment if exit_.index else -1
    since = sum(macs[before + 1 : exit_.segment + 1])
    whole = _whole_macs(bundle)
    return {
        "index": exit_.index,
        "segment": exit_.segment,
        "file": exit_.file,
        "bytes": bundle.manifest.files[exit_.file].size,
        "macs": exit_.macs,
        "parameters": exit_.parameters,
        "cumulative_share": (sum(macs[: exit_.segment + 1]) + exit_.macs) / whole if whole else None,
        "head_share": exit_.macs / since if since else None,
    }


def _rules(bundle: Bundle) -> dict[str, Any] | None:
    """Return the calibrated settings by name: the rule, and the accuracy drops in points there are.

    "missed_drops" are those of them that the setting may be expected to exceed.
    """
    from edgeexit.exits.settings import missed_drops  # noqa: PLC0415  loads NumPy

    rules = bundle.read_rules()
    settings = rules.get("settings")
    if not isinstance(settings, dict):
        return None
    names = {
        name: {
            "rule": setting.get("rule"),
            "allowed_drops": sorted(map(float, setting.get("parameters", {}))),
            "missed_drops": missed_drops(rules, name),
        }
        for name, setting in settings.items()
    }
    return {"recommended": rules.get("recommended"), "settings": names}


def _certificates(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the certificates, each with what it says of the setting and the network that are there now.

    "holds_for_this_bundle" is False if the network, the setting or the predictor was changed since.
    """
    from edgeexit.bundle.certificates import parameters_sha256  # noqa: PLC0415
    from edgeexit.bundle.manifest import network_sha256  # noqa: PLC0415

    network, settings = network_sha256(bundle.manifest), bundle.read_rules().get("settings", {})
    found = []
    for certificate in bundle.manifest.certificates:
        setting = settings.get(certificate.setting, {})
        parameters = setting.get("parameters", {}).get(f"{certificate.allowed_drop:g}")
        same = (
            certificate.network_sha256 == network
            and setting.get("rule") == certificate.rule
            and parameters is not None
            and certificate.parameters_sha256 == parameters_sha256(parameters, bundle.read_predictor())
        )
        document = {**asdict(certificate), "observed_points": certificate.observed_points}
        found.append({**document, "holds_for_this_bundle": same})
    return found


def _as_text(document: dict[str, Any]) -> str:
    lines = [
        f"{document['name']} ({document['created_by']}), {document['bytes'] / 1e6:.2f} MB in {document['path']}",
        f"digest      {document['digest']}",
        *(f"input       {_tensor_text(tensor)}" for tensor in document["inputs"]),
        f"images      {_images_text(document['preprocess'])}",
        f"classes     {document['class_count']}{_labels_text(document['labels'])}",
        f"whole net   {document['macs']:,} MACs, {document['parameters']:,} parameters with all heads",
        *_compression_lines(document["compression"]),
        "",
        *_exit_lines(document),
        "",
        "segment         MACs  parameters    file kB  tensors that it passes on (bytes a sample)",
        *map(_segment_line, document["segments"]),
        "",
        *_rules_lines(document),
        *_certificate_lines(document),
    ]
    return "\n".join(lines)


def _images_text(preprocess: dict[str, Any] | None) -> str:
    if preprocess is None:
        return "cannot be read: the bundle does not say how an image becomes its input"
    height, width = preprocess["size"]
    return (
        f"{preprocess['mode']}, {height} x {width}, {preprocess['layout']}, "
        f"(pixel x {preprocess['scale']:.6g} - {list(preprocess['mean'])}) / {list(preprocess['std'])}"
    )


def _labels_text(labels: tuple[str, ...] | None) -> str:
    if labels is None:
        return ", without names"
    return ": " + ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")


def _tensor_text(tensor: dict[str, Any]) -> str:
    shape = "unknown shape" if tensor["shape"] is None else f"({', '.join(map(str, tensor['shape']))})"
    size = "" if tensor["bytes"] is None else f" {tensor['bytes']:,} B"
    return f"{tensor['name']} {tensor['dtype']} {shape}{size}"


def _compression_lines(steps: Sequence[str]) -> list[str]:
    if not steps:
        return []
    return [f"compressed  {', '.join(steps)}; drops and certificates are counted from the compressed network"]


def _exit_lines(document: dict[str, Any]) -> list[str]:
    lines = ["exit  segment    head MACs  parameters  head in % of    work up to here in"]
    lines += ["                                      its segments   % of the whole net"]
    for exit_ in document["exits"]:
        head, cumulative = _percent(exit_["head_share"]), _percent(exit_["cumulative_share"])
        macs, parameters = f"{exit_['macs']:,}", f"{exit_['parameters']:,}"
        lines.append(
            f"{exit_['index']:4d}  {exit_['segment']:7d}  {macs:>11}  {parameters:>10}  {head:>12}  {cumulative:>19}"
        )
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f}"


def _segment_line(segment: dict[str, Any]) -> str:
    macs, parameters = f"{segment['macs']:,}", f"{segment['parameters']:,}"
    tensors = "; ".join(map(_tensor_text, segment["outputs"]))
    precision = f", in {segment['precision']}" if len(segment["precisions"]) > 1 else ""
    return f"{segment['index']:7d}  {macs:>11}  {parameters:>10}  {segment['bytes'] / 1e3:9.1f}  {tensors}{precision}"


def _rules_lines(document: dict[str, Any]) -> list[str]:
    rules = document["rules"]
    if rules is None:
        return ["exit settings: none; the bundle is not calibrated"]
    lines = [f"exit settings (recommended: {rules['recommended']}), calibrated for accuracy drops in points of"]
    for name, setting in rules["settings"].items():
        rule = "" if setting["rule"] == name else f" (rule {setting['rule']})"
        more = f" (loses more than {_listed(setting['missed_drops'])})" if setting["missed_drops"] else ""
        lines.append(f"  {name}{rule}: {_listed(setting['allowed_drops'])}{more}")
    return lines


def _listed(drops: Sequence[float]) -> str:
    return ", ".join(f"{drop:g}" for drop in drops)


def _certificate_lines(document: dict[str, Any]) -> list[str]:
    lines = [""] if document["certificates"] else []
    for found in document["certificates"]:
        what = (
            "accuracy lost" if found["risk"] == "labels" else f"answers other than those of the {document['full_name']}"
        )
        lines += [
            f"certificate: {what} with setting {found['setting']} (rule {found['rule']}) at a drop of "
            f"{found['allowed_drop']:g}: below {found['bound_points']:g} points, confidence {found['confidence']:g}",
            f"  {found['observed_points']:.2f} points on {found['samples']:,} samples, p = {found['p_value']:.3g}, "
            f"{100.0 * found['macs_share']:.1f} % of the MACs; {found['date']}, {found['created_by']}",
            f"  {found['method']}; data sha256 {found['data_sha256'][:16]}...",
        ]
        if not found["holds_for_this_bundle"]:
            lines.append("  NOT VALID HERE: the network or the setting was changed since; calibrate again")
    return lines
