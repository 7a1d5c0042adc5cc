import CAllocations
import Glibc

/// One line of the result: what one operation costs once everything is warm.
struct Figure {
    var name: String
    var size: Int
    var nanoseconds: Double
    var allocations: Double

    var json: String {
        "{\"name\": \"\(name)\", \"size\": \(size), \"nanoseconds\": \(nanoseconds.rounded(to: 10)), \"allocations\": \(allocations.rounded(to: 1000))}"
    }
}

extension Double {
    fileprivate func rounded(to parts: Double) -> Double { (self * parts).rounded() / parts }
}

/// Processor time of this thread in nanoseconds: others on the machine do not count.
func threadNanoseconds() -> UInt64 {
    var time = timespec()
    guard unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 else { fatalError("clock_gettime: errno \(errno)") }
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Runs `operations` of `body` five times after one warm-up; the time is the best of the five, the allocations are those of all.
func measure(_ name: String, size: Int, operations: Int, _ body: (Int) -> Void) -> Figure {
    body(operations)
    var best = UInt64.max
    let allocations = lh_allocations()
    for _ in 0..<5 {
        let start = threadNanoseconds()
        body(operations)
        best = min(best, threadNanoseconds() - start)
    }
    return Figure(
        name: name, size: size, nanoseconds: Double(best) / Double(operations),
        allocations: Double(lh_allocations() - allocations) / Double(operations * 5))
}

/// Keeps the optimiser from removing what computed `value`.
@inline(never) func keep<T>(_ value: T) {}
