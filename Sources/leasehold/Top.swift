import ArgumentParser
import CLinux
import Foundation
import Linux
import Model
import ServiceKit
import Wire

/// `leasehold top`: the pools as they are, in a terminal.
struct Top: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Watch the pools in a terminal.",
        discussion: """
            Keys: q quits, s changes the order (or directly: n name, d demand, w waiting, o oldest wait, f free, l leased, x set aside), \
            / filters by name (Enter keeps it, Esc ends it), arrows and page keys move. Without a terminal it prints once.
            """)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let asked = try Operator(options)
        do throws(SystemError) {
            try TopShell(asked.configuration).run()
        } catch {
            Terminal.error(error.description)
            throw ExitCode(ServiceKit.ExitStatus.unavailable.rawValue)
        }
    }
}

/// The state edge, the keyboard and the screen, on one loop.
private final class TopShell {
    private let loop: Loop
    private let outbox: Outbox
    private let state: LinkClient
    private let names: [PoolID: String]
    private var screen = TopScreen()
    private var signals: SignalSource?
    private var ticker: LoopTimer?
    private var giveUp: LoopTimer?
    private var former: termios?
    private var isWhole = false
    private var failure: SystemError?
    private let isTerminal = isatty(0) == 1 && Terminal.isInteractive

    /// From one picture to the next at most, so that a busy pool does not fill a slow terminal; and at least, because ages grow.
    private static let rhythm: Int64 = 200_000_000

    init(_ configuration: Configuration) throws(SystemError) {
        _ = lh_ignore_sigpipe()
        loop = try Loop()
        outbox = Outbox(loop: loop)
        names = Dictionary(configuration.pools.map { ($0.id, $0.name) }, uniquingKeysWith: { $1 })
        state = LinkClient(
            path: "\(configuration.runtimeDirectory)/\(Edge.state.name).sock",
            hello: Hello(edge: .state, seat: "operator", instance: UInt64.random(in: 1 ... .max)), outbox: outbox)
        signals = try SignalSource([SIGWINCH, SIGTERM, SIGINT, SIGHUP], on: loop) { [unowned self] signal in
            if signal == SIGWINCH { draw() } else { loop.stop() }
        }
        ticker = loop.timer { [unowned self] now in
            switch screen.standing {
            case .connecting: screen.standing = .connecting(state.lastEnd?.description ?? "")
            case .live, .away: break
            }
            draw()
            ticker?.deadline = now + Self.rhythm
        }
        giveUp = loop.timer { [unowned self] _ in
            failure = SystemError(ETIMEDOUT, "read", "the pool-keeper's state (\(state.lastEnd?.description ?? "nobody answers"); does it run, and are you in the group leasehold-state?)")
            loop.stop()
        }
        connect()
    }

    private func connect() {
        state.onUp = { [unowned self] _ in screen.up() }
        state.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                let message = try StateMessage.decode(from: &reader)
                screen.heard(message, name: { names[$0] ?? "pool \($0.rawValue)" }, at: loop.instant)
                if case .snapshotEnd = message { whole() }
            }
        }
        state.onDown = { [unowned self] _ in screen.standing = .away(since: loop.instant) }
    }

    /// Everything has been told once.
    private func whole() {
        giveUp?.deadline = .max
        if !isTerminal {
            let lines = screen.lines(rows: 1_000_000, columns: 1_000, coloured: Terminal.hasColour, at: loop.instant)
            Terminal.write(lines.dropLast().filter { !$0.isEmpty }.joined(separator: "\n") + "\n")
            loop.stop()
        } else if !isWhole {
            isWhole = true
            draw()
        }
    }

    func run() throws(SystemError) {
        if isTerminal { try enter() } else { giveUp?.deadline = monotonicNow() + 5_000_000_000 }
        state.start()
        // On every way out the terminal is given back as it was.
        defer { leave() }
        try loop.run()
        if let failure { throw failure }
    }

    private func enter() throws(SystemError) {
        var mode = termios()
        guard tcgetattr(0, &mode) == 0 else { throw SystemError(errno, "tcgetattr") }
        former = mode
        cfmakeraw(&mode)
        guard tcsetattr(0, TCSAFLUSH, &mode) == 0 else { throw SystemError(errno, "tcsetattr") }
        // The other screen, without a cursor and without breaking long lines.
        Terminal.write("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l")
        try loop.watch(0, LH_EPOLLIN) { [unowned self] _ in read() }
        ticker?.deadline = monotonicNow()
    }

    private func leave() {
        guard var mode = former else { return }
        Terminal.write("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l")
        _ = tcsetattr(0, TCSAFLUSH, &mode)  // the terminal is gone: nobody misses it
    }

    private func read() {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = lh_read(0, &bytes, bytes.count)
        guard count > 0 else { return loop.stop() }
        screen.typed(Array(bytes[..<count]))
        if screen.isOver { return loop.stop() }
        draw()
    }

    private func draw() {
        guard isTerminal else { return }
        var size = winsize()
        let isKnown = ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 0 && size.ws_col > 0
        let lines = screen.lines(rows: isKnown ? Int(size.ws_row) : 24, columns: isKnown ? Int(size.ws_col) : 80, coloured: Terminal.hasColour, at: loop.instant)
        // Each line is written over the one before and the rest of it wiped: no flicker.
        Terminal.write("\u{1b}[H" + lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n") + "\u{1b}[J")
    }
}
