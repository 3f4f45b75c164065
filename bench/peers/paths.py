#!/usr/bin/env python3
"""All shortest paths and all equal-cost next hops, as a script would get them from a library.

  paths.py LIBRARY FILE ROUNDS     one JSON line: milliseconds per round, next hops, sum of distances, peak memory
  paths.py picture FILE OUT.svg    cost curves from the tab-separated table of `scripts/bench paths --curve`

FILE holds networks: a line "nodes links", then a line "a b cost" per link. networkx lists predecessors itself; the
other libraries give a matrix D, and v is a next hop of u towards d where D[u, d] == cost(u, v) + D[v, d], one vector
operation per direction of a link. Above 2,000 nodes networkx runs 40 of the sources and is scaled.
"""
import json
import random
import resource
import sys
import time

SAMPLE_ABOVE, SAMPLE = 2000, 40


def networks(name):
    numbers = iter(open(name).read().split())
    for nodes in numbers:
        count = int(next(numbers))
        yield int(nodes), [tuple(int(next(numbers)) for _ in range(3)) for _ in range(count)]


def networkx(nodes, links):
    import networkx as nx
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    for a, b, cost in links:  # parallel links: the cheapest counts, as in the matrices
        if not graph.has_edge(a, b) or graph[a][b]["weight"] > cost:
            graph.add_edge(a, b, weight=cost)
    sources = range(nodes) if nodes <= SAMPLE_ABOVE else random.Random(1).sample(range(nodes), SAMPLE)
    hops = total = 0
    for source in sources:
        before, distance = nx.dijkstra_predecessor_and_distance(graph, source)
        hops += sum(map(len, before.values()))
        total += sum(distance.values())
    return (hops, total) if len(sources) == nodes else None, nodes / len(sources)


def cheapest(links):
    best = {}
    for a, b, cost in links:
        key = (min(a, b), max(a, b))
        best[key] = min(cost, best.get(key, cost))
    return [(a, b, cost) for (a, b), cost in best.items()]


def of_matrix(matrix):
    def run(nodes, links):
        import numpy as np
        links = cheapest(links)
        distance = matrix(nodes, links)
        hops = 0
        for a, b, cost in links:
            for u, v in ((a, b), (b, a)):
                mask = distance[u] == distance[v] + cost
                hops += int(np.count_nonzero(mask & np.isfinite(distance[u])))
        return (hops, int(distance[np.isfinite(distance)].sum(dtype=np.float64))), 1
    return run


def rustworkx(nodes, links):
    import numpy as np
    import rustworkx as rx
    graph = rx.PyGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(links)
    distance = np.full((nodes, nodes), np.inf, dtype=np.float32)
    for u, row in rx.all_pairs_dijkstra_path_lengths(graph, float).items():
        distance[u, list(row.keys())] = list(row.values())
        distance[u, u] = 0
    return distance


def igraph(nodes, links):
    import igraph as ig
    import numpy as np
    graph = ig.Graph(n=nodes, edges=[(a, b) for a, b, _ in links])
    return np.array(graph.distances(weights=[cost for *_, cost in links] or None), dtype=np.float32)


def scipy(nodes, links):
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra
    a, b, cost = zip(*links) if links else ((), (), ())
    matrix = coo_array((np.array(cost, float), (a, b)), shape=(nodes, nodes)).tocsr()
    return dijkstra(matrix, directed=False).astype(np.float32)


LIBRARIES = {"networkx": networkx, "rustworkx": of_matrix(rustworkx), "igraph": of_matrix(igraph),
             "scipy": of_matrix(scipy)}


def measure(library, name, rounds):
    all_networks = list(networks(name))
    LIBRARIES[library](2, [(0, 1, 1)])  # imports are not what is measured
    samples, answer = [], None
    for _ in range(rounds):
        spent, answer = 0.0, (0, 0)
        for nodes, links in all_networks:
            begin = time.perf_counter()
            found, scale = LIBRARIES[library](nodes, links)
            spent += (time.perf_counter() - begin) * scale
            answer = answer and found and (answer[0] + found[0], answer[1] + found[1])
        samples.append(spent * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    hops, total = answer or (None, None)
    print(json.dumps({"samples_ms": samples, "next_hops": hops, "distances": total, "peak_mb": peak}))


def picture(table, out):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    matplotlib.rcParams["svg.hashsalt"] = "ballast"
    rows = [line.split("\t") for line in open(table).read().splitlines()[1:]]
    _, axes = plt.subplots(1, 2, figsize=(10, 4))
    for subject in dict.fromkeys(row[0] for row in rows):
        points = [[float(value) for value in row[1:]] for row in rows if row[0] == subject]
        for axis, column in zip(axes, (1, 2)):
            axis.loglog([p[0] for p in points], [p[column] for p in points], marker="o", label=subject)
    for axis, label in zip(axes, ("milliseconds", "peak memory, MB")):
        axis.set_xlabel("nodes")
        axis.set_ylabel(label)
        axis.grid(True, which="both", alpha=0.3)
    axes[0].legend(fontsize=8)
    plt.tight_layout()
    plt.savefig(out, metadata={"Date": None})


if sys.argv[1] == "picture":
    picture(sys.argv[2], sys.argv[3])
else:
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
