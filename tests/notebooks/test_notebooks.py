"""Every notebook runs from top to bottom, on a small portfolio, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbclient
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
# jupyter_client and its websocket helpers warn about their own event loops on some Pythons
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLECTML_NOTEBOOK_ACCOUNTS", "4000")
    # the kernel writes into data/ of the checkout it finds: give it one of its own
    (tmp_path / "experiments").symlink_to(FOLDER.parent / "experiments")
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    assert "scores the same bits: True" in text
    assert (tmp_path / "data" / "first_strategy" / "report.html").is_file()
