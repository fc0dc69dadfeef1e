"""`python -m tests.families`: tries a student on every causal LLM of the installed transformers, and writes what was found (five minutes)."""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.families.probe import probe
from tests.families.report import page
from transformers_aura.modeling.language_models import SUPPORTED_LANGUAGE_MODELS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.families", description=__doc__)
    parser.add_argument("families", nargs="*", help="only these")
    parser.add_argument("--write", type=Path, help="write this page, of all families")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    findings = []
    for family in options.families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        with tempfile.TemporaryDirectory() as folder:
            finding = probe(family, Path(folder))
        findings.append(finding)
        found = finding.projections if finding.is_supported else ()
        listed = set(SUPPORTED_LANGUAGE_MODELS.get(family, ())) == set(found)
        print(
            family, "holds" if finding.is_supported else finding.fails, "" if listed else "NOT AS LISTED", flush=True
        )
        if not listed:
            print("   ", finding.projections, flush=True)
    if options.write and not options.families:
        options.write.write_text(page(findings), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
