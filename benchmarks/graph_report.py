"""Tables and plot of `speed_graph.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recording import MORE, milliseconds, percent, table

LINES = {"pixgraph": "C0", "NumPy + DGL": "C1", "PyG": "C2"}


def report(result: Mapping[str, Any]) -> str:
    """The tables with what they mean."""
    case = result["target"][0]["case"]
    parts = [
        f"A query of {case['side']} x {case['side']} nodes from a new picture, {case['shots']} known supports of 512 "
        f"nodes, {result['threads']} threads. Median (quartiles) of {result['target'][0]['time']['rounds']} rounds; "
        "`times the first` builder of a case is taken round by round. Exact neighbours cost what the search over all "
        "pairs costs; blocks of query nodes (`graph.knn_block`) find nearly all of them (see Recall). Random edges of "
        "the others may repeat. PyG finds no neighbours without torch_cluster.",
        _times(result["target"], lambda row: (_partners(row["case"]), row["edges"])),
        MORE,
        "What is too slow at that size, on a smaller one: the bare lattice with its features (NetworkX, scikit-image "
        "RAG), and lattice and random support edges, but without those among supports, which pixgraph adds (Python "
        "loops, the style of the published code of Pixel GNN).",
        _times(result["small"], lambda row: (f"{row['case']['side']} x {row['case']['side']}", row["edges"])),
        "## Growth",
    ]
    growth = {
        "nodes": lambda row: (f"{row['nodes']} nodes", row["edges"]),
        "dilations": lambda row: (" ".join(map(str, row["case"]["dilations"])), row["edges"]),
        "partners": lambda row: (f"{row['case']['drawn']} random", row["edges"]),
    }
    parts += [_times(result["growth"][name], key) for name, key in growth.items()]
    return "\n\n".join([*parts, *_memory(result["memory"]), *_recall(result["recall"])])


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Times and peak memory over the number of nodes, log-log, as a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, color in LINES.items():
        rows = [row for row in result["growth"]["nodes"] if row["builder"] == name]
        nodes = [row["nodes"] for row in rows]
        left.plot(nodes, [row["time"]["median_ms"] for row in rows], "o-", color=color, label=name)
        left.fill_between(
            nodes, [r["time"]["q25_ms"] for r in rows], [r["time"]["q75_ms"] for r in rows], color=color, alpha=0.2
        )
        used = [row for row in result["memory"] if row["builder"] == name and not row["case"]["nearest"]]
        used = sorted({row["case"]["side"]: row for row in used}.values(), key=lambda row: row["case"]["side"])
        right.plot([row["case"]["side"] ** 2 for row in used], [row["peak"] for row in used], "o-", color=color)
        if name == "pixgraph":
            right.plot(
                [row["case"]["side"] ** 2 for row in used], [row["returned"] for row in used], "--", color="grey"
            )
            right.plot([], [], "--", color="grey", label="arrays of the graph")
    left.axhline(60, color="grey", linewidth=0.8, linestyle=":")
    left.set(xscale="log", yscale="log", xlabel="query nodes", ylabel="ms", title="Time to build")
    right.set(xscale="log", yscale="log", xlabel="query nodes", ylabel="MB", title="Peak memory while building")
    left.legend()
    right.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _partners(case: Mapping[str, Any]) -> str:
    words = [f"{case['drawn']} random"] if case["drawn"] else []
    if case["nearest"]:
        words.append(f"{case['nearest']} nearest, " + (f"blocks of {case['block']}" if case["block"] > 1 else "exact"))
    return " + ".join(words)


def _times(rows: Sequence[Mapping[str, Any]], key: Any) -> str:
    lines = []
    for row in rows:
        what, edges = key(row)
        ratio = row["times_as_long"]
        shown = f"{ratio['median']:.2f} ({ratio['q25']:.2f}-{ratio['q75']:.2f})"
        time = row["time"]
        lines.append((f"{what}: {row['builder']}", edges, milliseconds(time), f"{time['min_ms']:.1f}", shown))
    return table(["what", "edges", "ms", "fastest", "times the first"], lines)


def _memory(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["## Memory\n\nNot measured: this system does not tell a process's peak."]
    lines = []
    for row in rows:
        case = row["case"]
        needed = max(row["peak"], row["returned"] + row.get("sorted", 0.0))
        lines.append(
            (
                f"{case['side']} x {case['side']}, {_partners(case)}: {row['builder']}",
                f"{row['returned']:.1f}",
                f"{row['peak']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['sorted']:.1f}" if "sorted" in row else "-",
                f"{row['estimate']:.1f} ({row['estimate'] / needed:.2f})" if "estimate" in row else "-",
            )
        )
    text = (
        "Largest resident size while a graph is built, less the one before, in a process of its own whose allocator "
        "gives memory back at once; in MB. `sorted`: the peak of sorting the edges both ways afterwards, as message "
        "passing does. `estimate`: what pixgraph compares with the free memory beforehand, and in brackets as a "
        "multiple of the larger of peak and graph with sorted edges."
    )
    header = ["what", "arrays returned", "peak", "peak / returned", "sorted", "estimate"]
    return ["## Memory", text, table(header, lines)]


def _recall(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        (
            f"{row['dataset']}, {row['nearest']} nearest, blocks of {row['block']}",
            percent(row["recall"]),
            percent(row["lowest_recall"]),
            percent(row["agreement"]),
        )
        for row in rows
    ]
    text = (
        f"Blocks of query nodes against each node by itself: share of the exact neighbours that are found, mean and "
        f"lowest over {rows[0]['episodes']} episodes of validation classes with 5 supports, and share of the query "
        "nodes whose neighbours have the same majority of labels, in percent."
    )
    return ["## Recall", text, table(["what", "recall", "lowest", "same majority"], lines)]
