"""Certificates are kept in the manifest, read strictly, and tell what they were made for."""

import json
from dataclasses import replace

import pytest
from test_manifest import MANIFEST, document, parse

from edgeexit.bundle.certificates import Certificate, parameters_sha256
from edgeexit.bundle.manifest import FileRecord, manifest_bytes, network_sha256, parse_manifest
from edgeexit.errors import BundleError

CERTIFICATE = Certificate(
    setting="certified",
    allowed_drop=0.5,
    rule="threshold",
    risk="labels",
    bound_points=0.5,
    confidence=0.95,
    samples=2000,
    lost=9,
    gained=5,
    p_value=0.03,
    method="by hand",
    macs_share=0.3,
    date="2026-01-31",
    data_sha256="a" * 64,
    parameters_sha256="b" * 64,
    network_sha256="c" * 64,
    created_by="edgeexit 0.1.0",
)
CERTIFIED = replace(MANIFEST, certificates=(CERTIFICATE,))


def test_certificates_are_written_and_read_again():
    assert parse_manifest(manifest_bytes(CERTIFIED), "manifest.json") == CERTIFIED


def test_a_manifest_without_certificates_is_as_it_was_before_there_were_any():
    assert "certificates" not in document()
    assert parse(document()).certificates == ()


def test_what_was_observed_is_losses_less_gains():
    assert CERTIFICATE.observed_points == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("risk", "luck"),
        ("samples", 0),
        ("samples", -3),
        ("confidence", 1.0),
        ("confidence", 0),
        ("date", "yesterday"),
        ("data_sha256", "abc"),
        ("bound_points", -0.1),
        ("lost", 1.5),
        ("method", ""),
    ],
)
def test_an_impossible_certificate_is_refused(key, wrong):
    changed = json.loads(manifest_bytes(CERTIFIED))
    changed["certificates"][0][key] = wrong
    with pytest.raises(BundleError, match=r"certificates\[0\]"):
        parse(changed)


def test_an_unknown_or_missing_key_is_named():
    changed = json.loads(manifest_bytes(CERTIFIED))
    changed["certificates"][0]["surprise"] = 1
    with pytest.raises(BundleError, match="unknown key 'surprise'"):
        parse(changed)
    changed = json.loads(manifest_bytes(CERTIFIED))
    del changed["certificates"][0]["p_value"]
    with pytest.raises(BundleError, match="'p_value' is missing"):
        parse(changed)


def test_what_a_rule_forecasts_with_does_not_change_what_a_certificate_is_for():
    plain = parameters_sha256({"threshold": 0.9}, None)
    assert parameters_sha256({"threshold": 0.9, "prior": [0.5, 0.5], "answers": []}, None) == plain
    assert parameters_sha256({"threshold": 0.8}, None) != plain


def test_another_predictor_changes_what_a_certificate_is_for_if_the_rule_uses_it():
    uses, does_not = {"predictor": "predictor.json", "stop": 0.9}, {"threshold": 0.9}
    assert parameters_sha256(uses, {"weights": 1}) != parameters_sha256(uses, {"weights": 2})
    assert parameters_sha256(does_not, {"weights": 1}) == parameters_sha256(does_not, {"weights": 2})


def test_the_network_is_its_pieces_and_not_its_settings():
    whole = network_sha256(MANIFEST)
    files = MANIFEST.files
    assert network_sha256(replace(MANIFEST, files={**files, "rules.json": FileRecord("d" * 64, 5)})) == whole
    assert network_sha256(CERTIFIED) == whole
    assert network_sha256(replace(MANIFEST, labels=None)) == whole
    assert network_sha256(replace(MANIFEST, files={**files, "head0.onnx": FileRecord("d" * 64, 20)})) != whole
    assert network_sha256(replace(MANIFEST, preprocess=None)) != whole
