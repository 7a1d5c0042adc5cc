import ArgumentParser
import Glibc

/// A worker that can do one job at a time, for demonstrations and tests. It counts every second job that reaches it.
@main
struct Worker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-example-worker",
        abstract: "A small HTTP worker that does one job at a time and counts every second one that reaches it.",
        discussion: """
            GET /         pid and counters. GET /stats and /healthz say the same and are not jobs.
            ANY /render   works and answers; so does every other path. The request's body is read and counted. Parameters, in the query:
                            ms=N bytes=N status=N         how long, how much, with which status
                            chunked=1 until-close=1       how the end is told (default: Content-Length); trailer=1 after chunks
                            slow=1                        the head at once, the body spread over ms
                            early=1                       answers before the request's body is whole
                            linger=0                      the work ends when the caller leaves (default: it goes on)
                            head=1                        the body is the request's head as it arrived
                            crash=1 crash-before=1        the process ends in the middle of, or before, the response
                            hang=1                        no answer; the job ends after ms, or with a reset, or when the caller leaves (linger=0)
                            refuse=1 busy409=1            503 or 409 with Leasehold-Busy: 1, before the body is read; not a job
                            cut-after=N reset=1           the connection ends after N bytes of the body, in order or by a reset
            GET /echo     WebSocket: every message comes back; the session is one job.

            Byte i of a body is i mod 251. Answers carry Worker-Pid, Worker-Lease (the request's Leasehold-Lease) and Worker-Body: the
            request body's length and its Adler-32. SIGTERM: finishes the job in hand, then exits.
            """)

    @Option(help: "The port to listen on; 0 takes a free one, which the ready file tells.")
    var port: Int

    @Option(help: "The address to listen on.")
    var host = "127.0.0.1"

    @Flag(name: .customLong("close"), help: "Close the connection after each answer.")
    var alwaysCloses = false

    @Option(help: ArgumentHelp("How many jobs at once are allowed.", valueName: "n"))
    var slots = 1

    @Option(help: ArgumentHelp("Parameters that hold where a request says nothing else, such as 'refuse=1'.", valueName: "query"))
    var defaults = ""

    @Option(help: ArgumentHelp("Append each violation to this file, one line each.", valueName: "file"))
    var violations: String?

    @Option(help: ArgumentHelp("Write 'host port pid' to this file once the port accepts.", valueName: "file"))
    var readyFile: String?

    func validate() throws {
        guard (0...65535).contains(port) else { throw ValidationError("--port is a number from 0 to 65535.") }
        guard slots > 0 else { throw ValidationError("--slots is at least 1.") }
        do { _ = try parsedDefaults() } catch { throw ValidationError("--defaults: \(error).") }
    }

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        try Server(
            host: host, port: port, defaults: parsedDefaults(), alwaysCloses: alwaysCloses, readyFile: readyFile,
            ledger: Ledger(slots: slots, violations: violations)
        ).run()
    }

    private func parsedDefaults() throws(Work.BadParameter) -> Work {
        var work = Work()
        try work.apply(query: defaults)
        return work
    }
}
