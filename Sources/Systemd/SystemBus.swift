import CLinux
import CSystemd
import Linux

/// A connection to the system bus (sd-bus, libsystemd) on a loop: asynchronous calls, signals, and connecting again by itself.
public final class SystemBus {
    /// Why a call has no answer.
    public struct Failure: Error, CustomStringConvertible {
        /// The name of the bus's error, like `org.freedesktop.DBus.Error.AccessDenied`.
        public var name: String
        public var message: String

        public var description: String { message.isEmpty ? name : "\(message) (\(name))" }
    }

    /// The bus is there: what was subscribed to before is not any more.
    public var onConnected: () -> Void = {}
    /// Every call that waited has failed already.
    public var onDisconnected: (String) -> Void = { _ in }

    /// Back-off between attempts: 100 ms doubling to 5 s.
    private static let firstWait: Int64 = 100_000_000
    private static let mostWait: Int64 = 5_000_000_000

    private let loop: Loop
    private var bus: OpaquePointer?
    private var token: Loop.Token?
    private var interest: UInt32 = 0
    private var timer: LoopTimer?
    private var wait = SystemBus.firstWait
    private var calls: [ObjectIdentifier: Call] = [:]
    private var matches: [Match] = []

    /// Waits for its reply; held by `calls` for as long as the library may call back.
    private final class Call {
        unowned let owner: SystemBus
        let reply: (Result<BusMessage, Failure>) -> Void
        init(owner: SystemBus, reply: @escaping (Result<BusMessage, Failure>) -> Void) {
            self.owner = owner
            self.reply = reply
        }
    }

    /// Lives as long as the bus.
    private final class Match {
        let sender, path, interface, member: String
        let action: (BusMessage) -> Void
        init(sender: String, path: String, interface: String, member: String, action: @escaping (BusMessage) -> Void) {
            (self.sender, self.path, self.interface, self.member) = (sender, path, interface, member)
            self.action = action
        }
    }

    public init(loop: Loop) {
        self.loop = loop
        timer = loop.timer { [unowned self] _ in bus == nil ? connect() : process() }
        // Whatever a turn asked of the bus may have changed what it waits for.
        loop.atTurnEnd { [unowned self] in settle() }
    }

    deinit { disconnect() }

    public var isConnected: Bool { bus != nil }

    /// Calls `action` for each such signal, now and after every reconnect. Add them before ``connect()``.
    public func onSignal(
        sender: String, path: String, interface: String, member: String, _ action: @escaping (BusMessage) -> Void
    ) {
        matches.append(Match(sender: sender, path: path, interface: interface, member: member, action: action))
    }

    /// Connects, or tries again later; `onConnected` is called in either case when it has worked.
    public func connect() {
        guard bus == nil else { return }
        var opened: OpaquePointer?
        let result = sd_bus_open_system(&opened)
        guard result >= 0, let opened else { return failed(SystemError(-result, "connect to the system bus").description) }
        _ = sd_bus_set_exit_on_disconnect(opened, 0)
        let descriptor = sd_bus_get_fd(opened)
        do throws(SystemError) {
            token = try loop.watch(descriptor, LH_EPOLLIN) { [unowned self] _ in process() }
        } catch {
            sd_bus_close_unref(opened)
            return failed(error.description)
        }
        interest = LH_EPOLLIN
        bus = opened
        for match in matches {
            _ = sd_bus_match_signal_async(
                opened, nil, match.sender, match.path, match.interface, match.member,
                { message, data, _ in
                    guard let message, let data else { return 0 }
                    Unmanaged<Match>.fromOpaque(data).takeUnretainedValue().action(BusMessage(message))
                    return 0
                }, { _, _, _ in 0 }, Unmanaged.passUnretained(match).toOpaque())
        }
        onConnected()
        settle()
    }

    /// Calls a method; `reply` is called once, in a later turn unless nothing is connected.
    public func call(
        _ destination: String, _ path: String, _ interface: String, _ member: String, _ arguments: [BusArgument],
        reply: @escaping (Result<BusMessage, Failure>) -> Void
    ) {
        guard let bus else { return reply(.failure(Self.away)) }
        var message: OpaquePointer?
        var result = sd_bus_message_new_method_call(bus, &message, destination, path, interface, member)
        guard result >= 0, let message else { return reply(.failure(Self.local(result))) }
        defer { sd_bus_message_unref(message) }
        for argument in arguments where result >= 0 { result = argument.append(to: message) }
        guard result >= 0 else { return reply(.failure(Self.local(result))) }
        let call = Call(owner: self, reply: reply)
        calls[ObjectIdentifier(call)] = call
        result = sd_bus_call_async(
            bus, nil, message,
            { message, data, _ in
                guard let message, let data else { return 0 }
                let call = Unmanaged<Call>.fromOpaque(data).takeUnretainedValue()
                call.owner.answered(call, message)
                return 0
            }, Unmanaged.passUnretained(call).toOpaque(), 0)
        guard result < 0 else { return }
        calls[ObjectIdentifier(call)] = nil
        reply(.failure(Self.local(result)))
    }

    private func answered(_ call: Call, _ message: OpaquePointer) {
        guard calls.removeValue(forKey: ObjectIdentifier(call)) != nil else { return }
        if let error = sd_bus_message_get_error(message) {
            let failure = Failure(
                name: error.pointee.name.map { String(cString: $0) } ?? "", message: error.pointee.message.map { String(cString: $0) } ?? "")
            call.reply(.failure(failure))
        } else {
            call.reply(.success(BusMessage(message)))
        }
    }

    // MARK: The loop

    private func process() {
        while let bus {
            let result = sd_bus_process(bus, nil)
            if result < 0 { return failed(SystemError(-result, "talk to the system bus").description) }
            if result == 0 { break }
        }
        wait = Self.firstWait
        settle()
    }

    /// Waits for what the library now waits for.
    private func settle() {
        guard let bus, let token else { return }
        let events = UInt32(max(0, sd_bus_get_events(bus)))
        // poll(2)'s bits are epoll(7)'s for these.
        if events != interest {
            interest = events
            loop.rewatch(token, events)
        }
        var micros = UInt64.max
        guard sd_bus_get_timeout(bus, &micros) >= 0, micros != .max else {
            timer?.deadline = .max
            return
        }
        timer?.deadline = Int64(clamping: micros).multipliedReportingOverflow(by: 1000).partialValue
    }

    private func failed(_ reason: String) {
        disconnect()
        timer?.deadline = monotonicNow() + wait
        wait = min(wait * 2, Self.mostWait)
        let lost = calls.values
        calls.removeAll()
        for call in lost { call.reply(.failure(Self.away)) }
        onDisconnected(reason)
    }

    private func disconnect() {
        if let token { loop.unwatch(token) }
        token = nil
        if let bus { sd_bus_close_unref(bus) }
        bus = nil
    }

    private static let away = Failure(name: "", message: "the system bus is away")
    private static func local(_ result: Int32) -> Failure { Failure(name: "", message: SystemError(-result, "sd_bus").description) }
}
