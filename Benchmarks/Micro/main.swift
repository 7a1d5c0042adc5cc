// Microbenchmarks of the machines: nanoseconds and allocations per operation, as JSON lines. `make bench` shows them.

import CAllocations
import Glibc

// Peak memory is that of a whole process, so each of these is one of its own.
if let place = CommandLine.arguments.firstIndex(of: "--kubernetes-memory") {
    print(kubernetesMemory(CommandLine.arguments.dropFirst(place + 1).first ?? ""))
    exit(0)
}

let sizes = CommandLine.arguments.contains("--quick") ? [100, 10_000] : [100, 1_000, 10_000, 100_000]
let operations = 100_000

let slices = CommandLine.arguments.contains("--quick") ? [100] : [100, 1_000]

// The rest takes minutes.
var figures = CommandLine.arguments.contains("--only-kubernetes") ? [] : keeperFigures(sizes: sizes, operations: operations)
if !figures.isEmpty {
    figures.append(wireFigure(operations: operations))
    figures.append(headFigure(operations: operations))
}
for count in slices { figures += kubernetesFigures(slices: count) }
precondition(lh_allocations() > 0, "allocations are not counted")
for figure in figures { print(figure.json) }
