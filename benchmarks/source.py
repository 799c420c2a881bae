"""What the source wing recovers, and what it does not: `python benchmarks/source.py [section ...]`.

Sections: lineage, copied, ladder, minor, unrelated, peers, speed. The wheels come from the package index, by digest,
into the cache of the tests on real models; copydetect and diffinite are installed into an environment of their own. The
figures of the prototype (measured before this code was written, on the same wheels) stand beside ours.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import reconstructions  # noqa: E402 - the folder must be on the path first
from benchmarks.mutators import LADDER, everything, rename  # noqa: E402
from filiation.repository.model import Repository, RepositoryFile  # noqa: E402
from filiation.source import FileFound, Level, Library, examine, load  # noqa: E402
from filiation.source.copied import check, stated  # noqa: E402
from filiation.source.corpus import Release, build_wheel  # noqa: E402
from filiation.source.corpus.build import _WANTED, _modular  # noqa: E402
from filiation.source.corpus.release import release  # noqa: E402
from filiation.source.given import Given  # noqa: E402
from filiation.source.modular import parents  # noqa: E402
from filiation.source.parse import decode, parse  # noqa: E402
from filiation.source.ranking import Index, ancestors, stem  # noqa: E402
from filiation.source.renames import changed_part  # noqa: E402
from tests.real.wheels import wheel  # noqa: E402

MODELS = "transformers/models"
FAMILIES = ("bloom", "mpt", "gpt2", "falcon", "opt", "t5", "rwkv")


def text(version: str, path: str, package: str = "transformers") -> str:
    """Return a file of a pinned wheel."""
    with zipfile.ZipFile(wheel(package, version)) as archive:
        return decode(archive.read(path))


def modeling(version: str, model: str) -> str:
    """Return a model's modeling file of a transformers release."""
    return text(version, f"{MODELS}/{model}/modeling_{model}.py")


def repository(name: str, files: Mapping[str, str]) -> Repository:
    """Return a repository of these files."""
    data = {path: body.encode() for path, body in files.items()}
    return Repository(name, name, {p: RepositoryFile(p, len(d)) for p, d in data.items()}, data.__getitem__)


def without(source: Release, path: str) -> Release:
    """Return a release without one work."""
    return _part(source, [n for n, e in enumerate(source.entries) if e.work != path])


def _part(s: Release, kept: list[int]) -> Release:
    quick = s.features_of
    return release(
        s.package,
        s.version,
        s.released,
        s.wheel_sha256,
        [s.entries[n] for n in kept],
        lambda n: s.print_of(kept[n]),
        None if quick is None else lambda n: quick(kept[n]),
    )


def lineage() -> None:
    """Rank every modeling file with declared parents against all others of its release."""
    version = "5.23.0"
    source = build_wheel(wheel("transformers", version))
    index = Index([source])
    at = {stem(e.path)[9:]: n for n, e in enumerate(source.entries) if stem(e.path).startswith("modeling_")}
    declared = {name: found & set(at) for name, found in _modular_parents(version).items() if name in at}
    declared = {name: found - {name} for name, found in declared.items()}
    asked = sorted(name for name, found in declared.items() if found)
    print(
        f"\n## Lineage: transformers {version}, {len(at)} modeling files, {len(asked)} with declared parents\n"
    )
    print("| | top 1 | top 3 | same lineage |\n| --- | --- | --- | --- |")
    print("| prototype | .497 | .756 | .958 |")
    for label, dated in (("by likeness alone", False), ("without files of later years", True)):
        figures = _lineage_figures(index, at, declared, asked, dated)
        print(f"| {label} | {figures[0]:.3f} | {figures[1]:.3f} | {figures[2]:.3f} |")


def _modular_parents(version: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with zipfile.ZipFile(wheel("transformers", version)) as archive:
        for member in archive.infolist():
            if _modular(member):
                parsed = parse(archive.read(member))
                if not isinstance(parsed, str):
                    found[stem(member.filename)[8:]] = set(parents(parsed.tree))
    return found


def _lineage_figures(
    index: Index, at: dict[str, int], declared: Mapping[str, set[str]], asked: list[str], dated: bool
) -> tuple[float, float, float]:
    lines = {name: _ancestors(name, declared) for name in at}
    names = {n: name for name, n in at.items()}
    first = three = same = 0
    for name in asked:
        number = at[name]
        year = index.documents[number].year
        score = index.scores(index.documents[number].fingerprint())[0]
        order = [int(n) for n in np.argsort(-score, kind="stable") if int(n) in names and n != number]
        if dated and year:
            order = [n for n in order if (index.documents[n].year or 0) <= year]
        best = [names[n] for n in order[:3]]
        first += best[0] in declared[name]
        three += bool(set(best) & declared[name])
        same += bool(lines[best[0]] & lines[name])
    return first / len(asked), three / len(asked), same / len(asked)


def _ancestors(name: str, declared: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += declared.get(here, ())
    return seen


def copied() -> None:
    """Check every 'Copied from' statement of 4.40.0, and find its source blind."""
    version = "4.40.0"
    source = build_wheel(wheel("transformers", version))
    structures = _structures(source)
    checked: Counter[str] = Counter()
    blind: Counter[str] = Counter()
    with zipfile.ZipFile(wheel("transformers", version)) as archive:
        for number, entry in enumerate(source.entries):
            body = decode(archive.read(entry.path))
            results = check(entry.path, body, source.print_of(number), [source])
            checked.update(r.status.value for r in results)
            for said in stated(body):
                if said.renames:
                    blind.update(_recovered(source, number, said.line, said.source, said.renames, structures))
    total = sum(checked.values())
    print(f"\n## Copied from: transformers {version}, {total} statements in {len(source.entries)} files\n")
    print("| checked against its own release | statements |\n| --- | --- |")
    for status, count in checked.most_common():
        print(f"| {status} | {count} |")
    asked = blind["asked"]
    print(f"\nOf {asked} with a renaming, whose source and copy stand in these files:")
    print(
        f"- found blind (a definition of the same structure is the stated source): {blind['found'] / asked:.3f}"
    )
    print(f"- one-to-one map inferred: {blind['one_to_one'] / asked:.3f}")
    print(
        f"- inferred map holds the stated renaming, or nothing of it stands in the code: {blind['map'] / asked:.3f}"
    )


Structure = tuple[bytes, ...]


def _structures(source: Release) -> dict[Structure, set[tuple[int, str]]]:
    found: dict[Structure, set[tuple[int, str]]] = defaultdict(set)
    for number in range(len(source.entries)):
        each = source.print_of(number)
        for name in {d.name for d in each.definitions if d.name}:
            found[_structure(each, name)].add((number, name))
    return found


def _structure(each: object, name: str) -> Structure:
    members = sorted(
        (d for d in each.definitions if d.name == name or d.name.startswith(f"{name}.")),  # type: ignore[attr-defined]
        key=lambda d: d.name[len(name) :],
    )
    return tuple(each.statements.digests[d.start : d.stop].tobytes() for d in members)  # type: ignore[attr-defined]


def _recovered(
    source: Release,
    number: int,
    line: int,
    dotted: str,
    renames: tuple[tuple[str, str], ...],
    structures: Mapping[Structure, set[tuple[int, str]]],
) -> list[str]:
    mine = source.print_of(number)
    under = min(
        (d for d in mine.definitions if line < d.line <= line + 30 and d.name),
        key=lambda d: d.line,
        default=None,
    )
    where = _locate(source, dotted)
    if under is None or where is None:
        return []
    there, name = where
    other = source.print_of(there)
    if not any(d.name == name for d in other.definitions):
        return []
    result = ["asked"]
    if (there, name) in structures[_structure(mine, under.name)]:
        pairs = _names(mine, under.name, other, name)
        forward: dict[str, Counter[str]] = defaultdict(Counter)
        for old, new in pairs:
            forward[old][new] += 1
        clean = all(len(to) == 1 for to in forward.values())
        cores = {core for old, new in pairs if old != new and (core := changed_part(new, old))}
        stands = [(o, n) for o, n in renames if any(o in old for old, _ in pairs)]
        held = all(any(n in new and o in old for new, old in cores) or _whole(pairs, o, n) for o, n in stands)
        result += ["found", *(["one_to_one"] if clean else []), *(["map"] if held else [])]
    return result


def _whole(pairs: list[tuple[str, str]], old: str, new: str) -> bool:
    """Return whether every name with the old part has the new one instead."""
    return all(theirs.replace(old, new) == ours for theirs, ours in pairs if old in theirs)


def _locate(source: Release, dotted: str) -> tuple[int, str] | None:
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 1, -1):
        number = source.module(".".join(parts[:cut]))
        if number is not None:
            return number, ".".join(parts[cut:])
    return None


def _names(mine: object, under: str, other: object, name: str) -> list[tuple[str, str]]:
    """Return pairs (source's name, copy's name) at equal places of two definitions."""
    result: list[tuple[str, str]] = []
    tails = {
        d.name[len(name) :]: d for d in other.definitions if d.name == name or d.name.startswith(f"{name}.")
    }  # type: ignore[attr-defined]
    for d in mine.definitions:  # type: ignore[attr-defined]
        if d.name == under or d.name.startswith(f"{under}."):
            e = tails.get(d.name[len(under) :])
            if e is None:
                continue
            a, b = mine.statements, other.statements  # type: ignore[attr-defined]
            ours = a.names[a.first[d.start] : a.first[d.stop]].tolist()
            theirs = b.names[b.first[e.start] : b.first[e.stop]].tolist()
            result += [(other.spelling[t], mine.spelling[o]) for o, t in zip(ours, theirs, strict=False)]  # type: ignore[attr-defined]
    return result


def ladder() -> None:
    """Rewrite files more and more and look what is still found."""
    corpus = load()
    cases: list[tuple[str, str, list[Repository]]] = [
        ("Pangu (reconstructed) / Qwen2-MoE", reconstructions.pangu(modeling("4.44.2", "qwen2_moe")),
         [repository("qwen2_moe", {"modeling_qwen2_moe.py": modeling("4.44.2", "qwen2_moe")})]),
        ("Yi / Llama (vllm 0.2.4)", text("0.2.4", "vllm/model_executor/models/yi.py", "vllm"),
         [repository("vllm", {"llama.py": text("0.2.4", "vllm/model_executor/models/llama.py", "vllm")})]),
    ]  # fmt: skip
    print(
        "\n## Mutation ladder\n\n"
        "| file | rewriting | level | equal nodes | one to one | rare | prototype's containment |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    before = {"Pangu": ".88 .88 .88 .88 .82 .82", "Yi": ".71 .71 .71 .71 .66 .66"}
    for name, source, references in cases:
        known = dict(zip(LADDER, before[name.split()[0]].split(), strict=False))
        for label, mutate in LADDER.items():
            found = examine(repository("s", {"s.py": mutate(source, 1)}), references, corpus)
            each = found.files[0]
            best = next((c for c in each.candidates if c.file == each.reference_file), None)
            one = each.rename_map.one_to_one
            print(
                f"| {name} | {label} | {each.level} | {each.share:.3f} | {'' if one is None else f'{one:.3f}'} | "
                f"{best.rare if best else ''} | {known.get(label, '')} |"
            )
    _ladder_of_many(corpus)


def _ladder_of_many(corpus: Library) -> None:
    models = (
        "clip",
        "electra",
        "gpt_neox",
        "mamba",
        "marian",
        "persimmon",
        "phi3",
        "segformer",
        "vit",
        "whisper",
    )
    print(f"\n{len(models)} files of 4.44.2 against the corpus ({', '.join(models)}):\n")
    print(
        "| rewriting | its own file first | level same or identical | mean share of equal nodes |\n"
        "| --- | --- | --- | --- |"
    )
    for label, mutate in LADDER.items():
        first = same = 0
        shares: list[float] = []
        for model in models:
            found = examine(repository("s", {"s.py": mutate(modeling("4.44.2", model), 1)}), (), corpus)
            each = found.files[0]
            first += each.candidates[0].file.endswith(f"modeling_{model}.py")
            same += each.level in (Level.IDENTICAL, Level.SAME_AFTER_RENAMING)
            shares.append(each.share)
        print(f"| {label} | {first}/{len(models)} | {same}/{len(models)} | {np.mean(shares):.3f} |")


def minor() -> None:
    """Give copies from releases that the shipped corpus does not hold, every name of them replaced."""
    library = load()
    works = {d.work for d in library.index.documents}
    print("\n## Copies from releases that are not in the corpus, every name replaced\n")
    print("| release | files | level | files | its own work or a declared relative named |")
    print("| --- | --- | --- | --- | --- |")
    lines = ancestors(library.index.documents)
    for version in ("4.47.1", "4.51.3"):
        levels: Counter[str] = Counter()
        named: Counter[str] = Counter()
        with zipfile.ZipFile(wheel("transformers", version)) as archive:
            for member in archive.infolist():
                path = member.filename
                work = path.replace("/models/deprecated/", "/models/")
                if not _WANTED.match(path) or "/modeling_" not in path or work not in works:
                    continue
                found = examine(
                    repository("s", {"m.py": rename(decode(archive.read(member)), 1)}), (), library
                )
                for each in found.files:
                    levels[each.level] += 1
                    named[each.level] += _kin(stem(path), stem(each.reference_file or ""), lines)
        for level, count in levels.most_common():
            print(f"| {version} | {sum(levels.values())} | {level} | {count} | {named[level]} |")


def _kin(left: str, right: str, lines: Mapping[str, frozenset[str]]) -> bool:
    """Return whether two modules are one, or declare a common source."""
    return bool(lines.get(left, frozenset({left})) & lines.get(right, frozenset({right})))


def _direct(library: Library) -> set[frozenset[str]]:
    """Return the pairs of modules of which one declares in some release of the corpus that it takes from the other."""
    return {frozenset({stem(d.path), source}) for d in library.index.documents for source in d.sources}


def unrelated() -> None:
    """Give files of other families as references, and look what is said of them."""
    print(
        "\n## Pairs of which neither declares to come from the other; the suspect's own work is not in the corpus\n"
    )
    print("| families of 4.40.0 | said of the given reference | pairs |\n| --- | --- | --- |")
    library = load()
    told: list[str] = []
    declared = _direct(library)
    for label, families in (
        ("seven, as in the prototype", FAMILIES),
        ("others, drawn by lot", _drawn(library)),
    ):
        levels: Counter[str] = Counter()
        for name in families:
            others = [
                o
                for o in families
                if frozenset({f"modeling_{name}", f"modeling_{o}"}) not in declared and o != name
            ]
            for other, found in _strangers(library, name, others):
                asked = found.reference == other or found.level is Level.NO_FINDING
                levels[found.level if asked else "no_finding (another file comes first)"] += 1
                if asked and found.level is not Level.NO_FINDING:
                    told.append(
                        f"{name} / {other}: {found.level}, {found.share:.2f} of nodes, margin {found.margin or 0:.1f}, "
                        f"own {found.own or 0:.2f}, over siblings {found.sibling_margin or 0:.1f}"
                    )
        for level, count in levels.most_common():
            print(f"| {label} | {level} | {count} |")
    print("\n".join(["", *told]))
    null = library.null
    pairs = f"{null.pairs} pairs of {len(null.scores)} files"
    print(f"\nNull of the shipped corpus: {pairs} without a declared common source;")
    print(
        "best score of a file: "
        + ", ".join(f"{q:g} quantile {np.quantile(null.scores, q):.3f}" for q in (0.5, 0.95, 0.99))
    )


def _drawn(library: Library) -> list[str]:
    """Return twelve further families of 4.40.0."""
    (source,) = (r for r in library.releases if r.version == "4.40.0")
    names = sorted(
        {stem(e.path)[9:] for e in source.entries if stem(e.path).startswith("modeling_")} - {*FAMILIES}
    )
    there = [n for n in names if f"{MODELS}/{n}/modeling_{n}.py" in source.at]
    return sorted(random.Random(7).sample(there, 12))


def _strangers(library: Library, name: str, others: list[str]) -> Iterator[tuple[str, FileFound]]:
    path = f"{MODELS}/{name}/modeling_{name}.py"
    rest = Library([without(r, path) for r in library.releases])
    for other in others:
        given = repository(other, {f"modeling_{other}.py": modeling("4.40.0", other)})
        yield other, examine(repository(name, {"m.py": modeling("4.40.0", name)}), [given], rest).files[0]


def peers() -> None:
    """Run copydetect and diffinite on the same pairs."""
    home = ROOT / "build" / "peers"
    if not (home / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run(
            [
                str(home / "bin/python"),
                "-m",
                "pip",
                "install",
                "-q",
                "copydetect==0.5.0",
                "diffinite==0.13.1",
            ],
            check=True,
        )
    yi, llama, gpt2 = (
        text("0.2.4", f"vllm/model_executor/models/{n}.py", "vllm") for n in ("yi", "llama", "gpt2")
    )
    qwen = modeling("4.44.2", "qwen2_moe")
    pangu = reconstructions.pangu(qwen)
    pairs = {
        "Yi / Llama": (yi, llama),
        "Yi, all four rewritings / Llama": (everything(yi, 1), llama),
        "Pangu / Qwen2-MoE": (pangu, qwen),
        "Pangu, all four rewritings / Qwen2-MoE": (everything(pangu, 1), qwen),
        "Phi / OLMo (a common ancestor)": (modeling("4.44.2", "phi"), modeling("4.44.2", "olmo")),
        "Yi / GPT-2 (one library)": (yi, gpt2),
        "T5 / BLOOM (unrelated)": (modeling("4.44.2", "t5"), modeling("4.44.2", "bloom")),
    }
    print(
        "\n## Beside others (copydetect 0.5.0, diffinite 0.13.1)\n\n"
        "| pair | copydetect | diffinite | equal nodes | score |\n| --- | --- | --- | --- | --- |"
    )
    corpus = load()
    for name, (suspect, reference) in pairs.items():
        ours = _pair(suspect, reference, corpus)
        print(
            f"| {name} | {_copydetect(home, suspect, reference)} | {_diffinite(home, suspect, reference)} | "
            f"{ours[0]:.2f} | {ours[1]:.2f} |"
        )


def _pair(suspect: str, reference: str, corpus: Library) -> tuple[float, float]:
    from filiation.source.examine import Examined, examined
    from filiation.source.pair import compare
    from filiation.source.ranking import Document

    a, b = examined("a.py", suspect.encode()), examined("b.py", reference.encode())
    assert isinstance(a, Examined)
    assert isinstance(b, Examined)
    document = Document("r", "b.py", "r:b.py", None, None, (), -1, None, b.source)
    return compare(a.source, b.source).share, Given(corpus.index, [document]).rank(a.source)[0].score


def _copydetect(home: Path, suspect: str, reference: str) -> str:
    program = (
        "import sys, copydetect as c\n"
        "a, b = (c.CodeFingerprint(p, 25, 1) for p in sys.argv[1:3])\n"
        "print(c.compare_files(a, b)[1][0])\n"
    )
    return _peer(
        [str(home / "bin/python"), "-c", program],
        suspect,
        reference,
        lambda out: f"{float(out.split()[-1]):.2f}",
    )


def _diffinite(home: Path, suspect: str, reference: str) -> str:
    with tempfile.TemporaryDirectory() as work:
        for side, body in (("a", suspect), ("b", reference)):
            (Path(work) / side).mkdir()
            (Path(work) / side / "m.py").write_text(body)
        out = Path(work) / "r.json"
        command = [
            str(home / "bin/diffinite"),
            f"{work}/a",
            f"{work}/b",
            "--normalize",
            "--lang-aware",
            "--threshold-deep",
            "0",
            "--report-json",
            str(out),
            "--metrics-only",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not out.exists():
            return f"failed ({(done.stderr.strip().splitlines() or ['no report'])[-1][:40]})"
        found = re.findall(r'"(?:jaccard|deep_similarity|similarity)\w*":\s*([0-9.]+)', out.read_text())
        return (
            f"{max(float(x) for x in found):.2f}" if found else json.dumps(json.loads(out.read_text()))[:60]
        )


def _peer(command: list[str], suspect: str, reference: str, read: Callable[[str], str]) -> str:
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "a.py").write_text(suspect)
        (Path(work) / "b.py").write_text(reference)
        done = subprocess.run(
            [*command, f"{work}/a.py", f"{work}/b.py"], capture_output=True, text=True, check=False
        )
        return read(done.stdout) if done.returncode == 0 and done.stdout.strip() else "failed"


def speed() -> None:
    """Examine 500 files against a corpus of 530 modeling files, then again from the cache."""
    source = build_wheel(wheel("transformers", "5.23.0"))
    part = _part(source, [n for n, e in enumerate(source.entries) if stem(e.path).startswith("modeling_")])
    files: dict[str, str] = {}
    for version in ("4.44.2", "4.40.0"):
        with zipfile.ZipFile(wheel("transformers", version)) as archive:
            for member in archive.infolist():
                if _WANTED.match(member.filename) and len(files) < 500:
                    files[f"{version}/{member.filename}"] = decode(archive.read(member))
    print(
        f"\n## Speed: {len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB, against {len(part.entries)}\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        for label in ("first run", "from the cache"):
            began, spent = time.perf_counter(), _processor()
            library = Library([part])
            found = examine(repository("many", files), (), library, cache=Path(cache), jobs=2)
            print(
                f"- {label}: {time.perf_counter() - began:.1f} s wall, {_processor() - spent:.1f} s of processors, "
                f"{dict(Counter(f.level.value for f in found.files))}"
            )


def _processor() -> float:
    """Return processor seconds of this process and its children: what a loaded machine does not change."""
    return sum(
        u.ru_utime + u.ru_stime
        for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


SECTIONS = {f.__name__: f for f in (lineage, copied, ladder, minor, unrelated, peers, speed)}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or SECTIONS:
        SECTIONS[chosen]()
