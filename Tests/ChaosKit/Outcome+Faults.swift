extension Run.Outcome {
    /// All that is not zero and should be, one line each. Nothing when the promise was kept.
    package var faults: [String] {
        var out: [String] = []
        func zero(_ count: Int, _ what: String, _ details: some Sequence<String> = EmptyCollection<String>()) {
            guard count != 0 else { return }
            out.append("seed \(seed): \(count) \(what)" + details.prefix(40).map { "\n    \($0)" }.joined())
        }
        zero(single.lines.values.reduce(0) { $0 + $1.lost }, "sessions lost", single.troubles)
        zero(single.lines.values.reduce(0) { $0 + $1.corrupt }, "sessions with wrong bytes", single.troubles)
        zero(tally.lines.values.reduce(0) { $0 + $1.corrupt } - single.lines.values.reduce(0) { $0 + $1.corrupt },
            "sessions with wrong bytes after dispatcher and pool-keeper were killed together", tally.troubles.dropFirst(single.troubles.count))
        zero(single.doubledJobs, "jobs begun twice", single.troubles)
        zero(tally.violations.count, "second concurrent jobs", tally.violations)
        zero(localViolations.count, "second concurrent jobs at local workers", localViolations)
        zero(order.tokensTwice, "leases granted twice")
        zero(order.overtaken, "parked callers saw a later one go first", order.details)
        if order.mostPerBlow.count > scarce {
            out.append(
                "seed \(seed): \(order.mostPerBlow.count) later callers went before one for each blow at its dispatcher: more than \(scarce) "
                    + "grants cannot be on their way\n    \(order.mostPerBlow.detail)")
        }
        zero(surprises.count, "ends that nobody had asked for", surprises)
        zero(leftovers.count, "leftovers at the end", leftovers)
        if standing.live == 0 && standing.parked == 0 { out.append("seed \(seed): there was no load: \(standing)") }
        return out
    }
}
