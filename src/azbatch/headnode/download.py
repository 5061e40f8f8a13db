"""Files over https, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

from azbatch.errors import AzbatchError, ConfigurationError

BLOCK = 1 << 20
TIMEOUT = 60.0


def mirrored(url: str, mirror: str | None) -> str:
    """The address of a file on a mirror, as prepare.sh makes it. Raises ConfigurationError for one without https."""
    if mirror is None:
        return url
    if not mirror.startswith("https://"):
        raise ConfigurationError([f"'{mirror}' is no mirror: it is named by an https address."])
    return f"{mirror.rstrip('/')}/{url.removeprefix('https://')}"


def blocks(url: str) -> Iterator[bytes]:
    """The file's content. Raises AzbatchError."""
    import requests

    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            yield from answer.iter_content(BLOCK)
    except requests.RequestException as error:
        raise AzbatchError(f"{url} cannot be downloaded: {str(error).splitlines()[0][:200]}.") from error
