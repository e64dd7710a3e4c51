"""From the page to an A4 PDF; WeasyPrint does the work, nothing is fetched."""

from __future__ import annotations

from typing import Any, NoReturn

from collectml.errors import ConfigurationError

__all__ = ["to_pdf"]


def to_pdf(page: str) -> bytes:
    """Lay a page out as PDF.

    Parameters
    ----------
    page : str
        From :func:`~collectml.reports.render.to_html`.

    Returns
    -------
    bytes

    Raises
    ------
    ConfigurationError
        Where the extra ``report`` or a system library it needs is missing.
    """
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            f"PDF needs the extra: pip install 'collectml[report]' (on Debian also libpangoft2-1.0-0 and a CJK font such as "
            f"fonts-wqy-zenhei); {type(error).__name__}"
        ) from None
    document: Any = weasyprint.HTML(string=page, url_fetcher=_refuse)
    pdf: bytes = document.write_pdf()
    return pdf


def _refuse(url: str, *_: object, **__: object) -> NoReturn:
    raise ValueError("a report fetches nothing")
