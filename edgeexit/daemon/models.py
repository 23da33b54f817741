"""Which bundles are served: loads, replaces and retires them, while requests in flight finish on the one before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeexit.daemon.contracts import ModelView
from edgeexit.daemon.slot import Slot, Stamp, stamp_of
from edgeexit.errors import BundleError, EdgeExitError, ModelNotFound, ModelNotReady, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.daemon.settings import ServedBundle

log = logging.getLogger(__name__)

READY, LOADING, UNLOADED, FAILED = "ready", "loading", "unloaded", "failed"


class _Place:
    """One version of a model that the daemon was told to serve, loaded or not."""

    def __init__(self, served: ServedBundle) -> None:
        self.served = served
        self.slot: Slot | None = None
        self.state = UNLOADED
        self.reason = ""
        self.seen: Stamp | None = None
        self.lock = asyncio.Lock()

    def view(self) -> ModelView:
        bundle = None if self.slot is None else self.slot.bundle
        ready = self.slot is not None
        return ModelView(self.served.name, self.served.version, bundle, ready, self.state, self.reason)


class Models:
    """All that is served, by name and version.

    Args:
        served: What the daemon was told to serve.
        open_slot: Loads one; called in a thread of its own.
        close_slot: Closes one that nobody uses any more; returns at once.

    Raises:
        OptionError: If two have the same name and version, or a version is no whole number.
    """

    def __init__(
        self,
        served: Sequence[ServedBundle],
        open_slot: Callable[[ServedBundle], Slot],
        close_slot: Callable[[Slot], None],
    ) -> None:
        self._open_slot = open_slot
        self._close_slot = close_slot
        self._places: dict[str, dict[str, _Place]] = {}
        self._retired: list[Slot] = []
        for each in served:
            self._add(each)

    def _add(self, served: ServedBundle) -> None:
        versions = self._places.setdefault(served.name, {})
        if not served.version.isdecimal():
            raise OptionError(f"the version of {served.name!r} must be a whole number, not {served.version!r}")
        if served.version in versions:
            raise OptionError(f"{served.name!r} is given twice in version {served.version}: give one another version")
        versions[served.version] = _Place(served)
        self._places[served.name] = dict(sorted(versions.items(), key=lambda pair: int(pair[0]), reverse=True))

    def views(self) -> list[ModelView]:
        """Return every version of every model, the highest version first."""
        return [place.view() for place in self._all()]

    def view(self, name: str, version: str | None = None) -> ModelView:
        """Return one version; without one the highest that is ready, else the highest.

        Raises:
            ModelNotFound: If there is none.
        """
        return self._find(name, version).view()

    def slot(self, name: str, version: str | None) -> Slot:
        """Return what answers for a model.

        Raises:
            ModelNotFound: If there is none.
            ModelNotReady: If it is not loaded.
        """
        place = self._find(name, version)
        if place.slot is None:
            reason = f": {place.reason}" if place.reason else ""
            raise ModelNotReady(f"model {name!r} version {place.served.version} is not ready ({place.state}{reason})")
        return place.slot

    def slots(self) -> list[Slot]:
        """Return all that is loaded, what still finishes requests included."""
        return [*(place.slot for place in self._all() if place.slot is not None), *self._retired]

    async def load(self, name: str) -> None:
        """Load every version of a model, or load it anew.

        Raises:
            ModelNotFound: If there is no such model.
            EdgeExitError: What is wrong with the first that cannot be loaded; the others are loaded all the same.
        """
        errors = [await self._load(place) for place in self._versions(name).values()]
        for error in errors:
            if error is not None:
                raise error

    async def unload(self, name: str) -> None:
        """Unload every version of a model; returns at once, requests in flight finish.

        Raises:
            ModelNotFound: If there is no such model.
        """
        for place in self._versions(name).values():
            async with place.lock:
                self._retire(place)
                if place.state != UNLOADED:
                    log.info("model %s version %s is unloaded", name, place.served.version)
                place.state, place.reason = UNLOADED, "unloaded on request"

    async def reload_changed(self) -> None:
        """Load anew what has changed on disk since it was looked at last; what fails is told by its view."""
        for place in self._all():
            stamp = stamp_of(place.served)
            if stamp is None:
                self._note_gone(place)
            elif place.state != UNLOADED and stamp != place.seen:
                await self._load(place)

    def left(self, slot: Slot) -> None:
        """Note that a request on `slot` has been answered."""
        slot.users -= 1
        if not slot.users and slot in self._retired:
            self._retired.remove(slot)
            self._close_slot(slot)

    async def _load(self, place: _Place) -> EdgeExitError | None:
        async with place.lock:
            name, version = place.served.name, place.served.version
            place.seen, before = stamp_of(place.served), place.state
            place.state = LOADING
            try:
                slot = await asyncio.to_thread(self._open_slot, place.served)
            except EdgeExitError as error:
                self._note_failure(place, error, FAILED, str(error))
                return error
            except Exception as error:
                self._note_failure(place, error, before, f"loading was broken off: {error}")
                return BundleError(f"model {name!r} version {version} cannot be loaded: {error}")
            except BaseException as error:
                place.state, place.reason = before, f"loading was broken off: {error}"
                raise
            self._retire(place)
            place.slot, place.state, place.reason = slot, READY, ""
            log.info("model %s version %s is ready: %s", name, version, slot.bundle.digest[:12])
            return None

    def _note_failure(self, place: _Place, error: Exception, state: str, reason: str) -> None:
        """Note why a bundle is not loaded; what only could not be read may be later, so who watches tries again."""
        unread = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
        if unread:
            place.seen = None
        if not unread or reason != place.reason:
            kept = ", so the one before serves on" if place.slot is not None else ""
            name, version = place.served.name, place.served.version
            log.error("model %s version %s cannot be loaded%s: %s", name, version, kept, reason)
        place.state, place.reason = state, reason

    @staticmethod
    def _note_gone(place: _Place) -> None:
        """Warn, once, that what a model was loaded from is not there any more."""
        if place.seen is not None and place.slot is not None:
            served = place.served
            log.warning(
                "%s is not there any more: model %s version %s serves on as it was loaded",
                served.path,
                served.name,
                served.version,
            )
        place.seen = None

    def _retire(self, place: _Place) -> None:
        slot, place.slot = place.slot, None
        if slot is None:
            return
        if slot.users:
            self._retired.append(slot)
        else:
            self._close_slot(slot)

    def _all(self) -> list[_Place]:
        return [place for versions in self._places.values() for place in versions.values()]

    def _versions(self, name: str) -> dict[str, _Place]:
        versions = self._places.get(name)
        if versions is None:
            known = ", ".join(sorted(self._places)) or "none"
            raise ModelNotFound(f"there is no model {name!r}; there are: {known}")
        return versions

    def _find(self, name: str, version: str | None) -> _Place:
        versions = self._versions(name)
        if version is None:
            ready = (place for place in versions.values() if place.slot is not None)
            return next(ready, next(iter(versions.values())))
        place = versions.get(version)
        if place is None:
            raise ModelNotFound(f"model {name!r} has no version {version!r}; it has: {', '.join(versions)}")
        return place
