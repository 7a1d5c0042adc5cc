import ArgumentParser
import ChaosKit
import Foundation
import TestKit

/// `make chaos`: real processes under load, struck at random; a table, JSON, and exit status 1 if anything was lost.
struct Chaos: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos", abstract: "Kill Leasehold's processes at random under load, and count what is lost.")

    @Option(help: "The first seed; a run with the same seed and blows strikes in the same order. LEASEHOLD_SEED says the same.")
    var seed = Chaos.number("LEASEHOLD_SEED") ?? UInt64.random(in: 1...1_000_000)
    @Option(help: "How many seeds. LEASEHOLD_ROUNDS says the same.") var rounds = Chaos.number("LEASEHOLD_ROUNDS") ?? 20
    @Option(help: "Blows for each seed. LEASEHOLD_KILLS says the same.") var kills = Chaos.number("LEASEHOLD_KILLS") ?? 100
    @Option(help: "After those: dispatcher and pool-keeper in the same moment, so many times.") var both: UInt64 = 2
    @Option(help: "Which processes are struck, by name.") var victims: [String] = Fleet.Process.allCases.map(\.rawValue)
    @Option(help: "Only blows of this kind, as the table names it: \"-9\", \"STOP, watchdog\", …") var blow: String?
    @Option(help: "1 is 200 live sessions and 100 parked callers.") var size = 1.0
    @Option(help: "Only sessions of this kind, as the table names it; may be given again.") var only: [String] = []
    @Option(help: "How long a session lasts, about, in seconds.") var seconds = 6.0
    @Option(help: "A file for the figures as JSON.") var json: String?
    @Flag(help: "Without the lines in between.") var quiet = false
    @Flag(help: "Strike the package that is installed here and that systemd runs (Tests/Systemd/inside.py prepares it).") var systemd = false

    static func number(_ name: String) -> UInt64? { ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } }

    mutating func run() throws {
        var outcomes: [Run.Outcome] = []
        for round in 0..<rounds {
            var run = Run(seed: seed + round, blows: Int(kills))
            run.both = Int(both)
            run.victims = victims.compactMap { Fleet.Process(rawValue: $0) }
            run.size = size
            if let blow {
                guard let kind = Director.Blows(rawValue: blow) else { throw ValidationError("--blow: one of \(Director.Blows.allCases.map(\.rawValue))") }
                run.onlyBlow = kind
            }
            run.only = only
            run.seconds = seconds
            run.threads = run.seed % 3 == 0 ? 2 : 1
            run.progress = !quiet
            run.isInstalled = systemd
            let outcome = try run.go()
            outcomes.append(outcome)
            print("seed \(run.seed): \(outcome.faults.isEmpty ? "nothing lost" : outcome.faults.joined(separator: "\n"))")
            for line in outcome.slow { print("  slow: \(line)") }
            fflush(nil)
            // What there is so far, in case that somebody ends this.
            if let json { try Data(Report(outcomes).json.utf8).write(to: URL(fileURLWithPath: json)) }
        }
        let report = Report(outcomes)
        print("\n" + report.table)
        print(report.escrowCounters)
        if outcomes.contains(where: { !$0.faults.isEmpty }) { throw ExitCode(1) }
    }
}

Chaos.main()
