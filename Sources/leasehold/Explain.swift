import ArgumentParser
import Foundation
import Model
import ServiceKit

/// `leasehold explain SUBJECT`: what the pool-keeper decided about a job, and why.
struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell why a job waited, what was passed over, who served it and how it ended.",
        discussion: """
            The pool-keeper remembers its newest decisions since its start, a fixed number of them. --follow goes on until it is \
            interrupted, also when the pool-keeper is started anew, and says so; with --json, each look is one line.
            """)

    @OptionGroup var options: DaemonOptions

    @Argument(
        help: "A job's number (LEASEHOLD_JOB in the journal), a lease (Leasehold-Lease, like browsers/1700000000.7) or a caller (like 12:3). Without one: everything.")
    var subject: String?

    @Flag(help: "Go on with what is decided from now on.")
    var follow = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let `operator` = try Operator(options)
        var seen = LeaseID(epoch: 0, counter: 0)
        var isAway = false
        while true {
            do throws(Operator.Failure) {
                let all = try `operator`.report([DecisionReport].self, from: .poolKeeper, "explain \(seen) \(subject ?? "")")
                if isAway { Terminal.error("the pool-keeper is back") }
                isAway = false
                if let newest = all.max(by: { $0.number < $1.number }) {
                    if seen.epoch != 0, seen.epoch != newest.epoch {
                        Terminal.error("this pool-keeper was started anew: it remembers nothing from before its start")
                    }
                    seen = LeaseID(epoch: newest.epoch, counter: newest.number)
                }
                if !all.isEmpty || !follow { try show(all) }
            } catch {
                // What one follows may not have begun yet, and a pool-keeper that ends has a successor.
                guard follow, error.mayPass || error.status == ExitStatus.unavailable.rawValue else { throw error.exit }
                if error.mayPass, !isAway { Terminal.error("\(error.message); waiting for it") }
                isAway = error.mayPass
            }
            guard follow else { return }
            Terminal.pause(.milliseconds(500))
        }
    }

    private func show(_ all: [DecisionReport]) throws(Operator.Failure) {
        guard json else { return Terminal.write(all.isEmpty ? "Nothing has been decided yet.\n" : all.map(\.line).joined()) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            Terminal.write(String(decoding: try encoder.encode(all), as: UTF8.self) + "\n")
        } catch {
            throw Operator.Failure(status: ExitStatus.software.rawValue, message: "the decisions cannot be written as JSON: \(error)")
        }
    }
}

extension DecisionReport {
    /// `12s ago  browsers  job 41 (seat 0, caller 12:3, acme, u=3)  waits: …`
    var line: String {
        let who = ([seat.isEmpty ? "" : "seat \(seat)", caller.isEmpty ? "" : "caller \(caller)", tenant, "u=\(urgency)"]).filter { !$0.isEmpty }
        let text = "\(age(agoMs)) ago  \(pool)  job \(job) (\(who.joined(separator: ", ")))  \(text)"
        return Cell(text).text + "\n"
    }
}
