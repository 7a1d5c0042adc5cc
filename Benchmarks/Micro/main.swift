// Microbenchmarks of the machines: nanoseconds and allocations per operation, as JSON lines. `make bench` shows them.

import CAllocations

let sizes = CommandLine.arguments.contains("--quick") ? [100, 10_000] : [100, 1_000, 10_000, 100_000]
let operations = 100_000

var figures = keeperFigures(sizes: sizes, operations: operations)
figures.append(wireFigure(operations: operations))
figures.append(headFigure(operations: operations))
precondition(lh_allocations() > 0, "allocations are not counted")
for figure in figures { print(figure.json) }
