"""Fuzz a path for a while: ``python tests/fuzz/fuzz.py yaml|parquet|cli --seconds 60 [--corpus DIR]`` (needs the extra ``fuzz``).

A finding ends the run with its traceback; the bytes that made it are in ``crash-...``. Add them to ``tests/fuzz/test_findings.py``.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
FOLLOWED = (  # whose branches guide the fuzzer: all modules would take minutes to prepare
    *("yaml.reader", "yaml.scanner", "yaml.parser", "yaml.composer", "yaml.constructor", "yaml.resolver"),
    *(
        "collectml.strategy.reading",
        "collectml.strategy.eligibility",
        "collectml.strategy.spec",
        "collectml.pipeline.experiment",
    ),
    *(
        "collectml.policy.tree",
        "collectml.data.schema",
        "collectml.data._coerce",
        "collectml.data._faults",
        "collectml.data.tables",
    ),
    *("collectml.engines.local", "collectml.batch.run", "collectml.batch.sources", "collectml.cli", "collectml.cli._errors"),
)


def follow(atheris: ModuleType, name: str) -> None:
    """Instrument the functions and methods that a module defines."""
    module = importlib.import_module(name)
    for one in vars(module).values():
        for part in [one, *vars(one).values()] if inspect.isclass(one) else [one]:
            if inspect.isfunction(part) and part.__module__ == name:
                atheris.instrument_func(part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("yaml", "parquet", "cli"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="folder that keeps what was found interesting")
    options = parser.parse_args()
    import atheris

    sys.path.insert(0, str(HERE))
    import targets

    for name in FOLLOWED:
        follow(atheris, name)

    def command_line(content: bytes) -> None:
        given = atheris.FuzzedDataProvider(content)
        command = given.PickValueInList([*targets.COMMANDS, "verify"])
        option, value = given.PickValueInList(list(targets.OPTIONS)), given.ConsumeUnicodeNoSurrogates(60)
        # who knows whom an address of a database would call; no system hands a NUL to a process
        if "postgres" not in value and "\0" not in value:
            targets.command_line(command, option, value)

    run = {"yaml": targets.yaml_file, "parquet": targets.parquet_file, "cli": command_line}[options.kind]
    with tempfile.TemporaryDirectory() as name, targets.scratch():
        corpus = Path(options.corpus or name).resolve()
        corpus.mkdir(parents=True, exist_ok=True)
        for i, content in enumerate(targets.seeds(options.kind)):
            (corpus / f"seed{i}").write_bytes(content)
        words = [f"-max_total_time={options.seconds}", "-max_len=20000", "-timeout=60", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={HERE}/", str(corpus)], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
