import ArgumentParser
import CLinux
import Foundation
import Linux
import ServiceKit
import Synchronization

/// `leasehold demo`: the whole system on this machine, in three acts, ending by itself.
struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Watch a request wait for a worker that does not exist yet, get it, and be served.",
        discussion: """
            Runs every process in a directory of its own under /tmp, on free ports of 127.0.0.1, for less than a minute. Exit code 1 if \
            anything that it claims did not hold; then the directory is kept and named.
            """)

    @Flag(help: "Show the processes' own lines too.")
    var verbose = false

    /// By its end a demo that is not over has failed.
    private static let longest = Duration.seconds(55)

    func run() throws {
        let ledger = DemoLedger()
        let stage = try DemoStage.build()
        let outcome = Mutex(Outcome.interrupted)
        let status: ServiceKit.ExitStatus
        do {
            status = try perform(stage, ledger, outcome)
        } catch {
            ledger.put("leasehold demo: \(error)\n")
            return try fail(stage, ledger)
        }
        switch outcome.withLock({ $0 }) {
        case .interrupted where status == .success:
            stage.remove()
            throw ExitCode(130)
        case .interrupted: try fail(stage, ledger)
        case .stuck(let why):
            ledger.say("✗ \(why)")
            _ = ledger.conclude()
            try fail(stage, ledger)
        case .told:
            guard ledger.conclude() else { return try fail(stage, ledger) }
            stage.remove()
        }
    }

    private enum Outcome: Sendable {
        case interrupted
        case stuck(String)
        case told
    }

    /// The supervisor's loop on this thread, the story on another.
    private func perform(_ stage: DemoStage, _ ledger: DemoLedger, _ outcome: borrowing Mutex<Outcome>) throws -> ServiceKit.ExitStatus {
        let raw = Int32(try check(lh_open(stage.logPath, O_WRONLY | O_CREAT | O_APPEND, 0o600), "open", stage.logPath))
        defer { _ = lh_close(raw) }
        let lines = verbose ? UpLines() : nil
        var options = Supervisor.Options(configurationPath: stage.configurationPath)
        options.onLine = { process, line in
            lines?.write(process, line)
            Self.write("\(process.rawValue): \(String(decoding: line, as: UTF8.self))\n", to: raw)
        }
        options.onNote = { text in
            lines?.note(text)
            Self.write("up: \(text)\n", to: raw)
        }
        let result = Result()
        options.onReady = { _ in
            let thread = Thread {
                let ending = Self.tell(DemoStory(stage: stage, ledger: ledger))
                result.set(ending)
                // To ourselves, as Ctrl-C would: the loop stops everything in order, the callers are gone.
                _ = lh_kill(getpid(), SIGTERM)
            }
            thread.start()
        }
        let supervisor = try Supervisor(Configuration.load(path: stage.configurationPath), options)
        ledger.say("Starting the watcher, the pool-keeper, the dispatcher, the scaler and the asset cache.")
        let overdue = supervisor.loop.timer { [unowned supervisor] _ in
            result.set(.stuck("the demo was not over after \(Self.longest.milliseconds / 1000) s"))
            supervisor.stop()
            supervisor.stop()
        }
        overdue.deadline = monotonicNow() + Self.longest.nanoseconds
        let status = try supervisor.run()
        outcome.withLock { $0 = result.value }
        return status
    }

    private static func tell(_ story: DemoStory) -> Outcome {
        do {
            try story.run()
            return .told
        } catch {
            return .stuck("\(error)")
        }
    }

    /// The first word counts.
    private final class Result: Sendable {
        private let outcome = Mutex<Outcome?>(nil)
        var value: Outcome { outcome.withLock { $0 } ?? .interrupted }
        func set(_ new: Outcome) { outcome.withLock { if $0 == nil { $0 = new } } }
    }

    private func fail(_ stage: DemoStage, _ ledger: DemoLedger) throws {
        ledger.put("Not everything held. Configuration and logs are in \(stage.directory); the last lines are in \(stage.logPath).\n")
        throw ExitCode(ServiceKit.ExitStatus.failure.rawValue)
    }

    private static func write(_ text: String, to raw: Int32) {
        let bytes = Array(text.utf8)
        // A full disk costs the log, not the demo.
        _ = lh_write(raw, bytes, bytes.count)
    }
}
