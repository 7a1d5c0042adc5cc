import CLinux
import Linux

/// The receiving end of sd_notify(3): whose message it is comes from the kernel, not from the message.
final class NotifySocket {
    /// For NOTIFY_SOCKET. Abstract, so that nothing is left behind whatever ends us.
    let address: String
    private let socket: Descriptor

    enum Message: Equatable {
        case ready
        case status(String)
        case watchdog
        /// WATCHDOG=trigger: the process itself asks to be replaced.
        case watchdogTrigger
        case stopping
    }

    init(on loop: Loop, _ onMessage: @escaping (_ pid: Int32, Message) -> Void) throws(SystemError) {
        address = "@leasehold-up/\(getpid())/\(String(UInt64.random(in: 0 ... .max), radix: 36))"
        socket = Descriptor(owning: Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue)), "socket")))
        _ = try check(lh_set_option(socket.raw, SOL_SOCKET, SO_PASSCRED, 1), "setsockopt", "SO_PASSCRED")
        _ = try check(lh_bind_unix(socket.raw, address), "bind", address)
        let raw = socket.raw
        try loop.watch(raw, LH_EPOLLIN) { _ in
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var pid: Int32 = 0
                let count = lh_receive_credentials(raw, &buffer, buffer.count, &pid)
                guard count >= 0 else { return }
                for message in Self.parse(buffer[..<count]) { onMessage(pid, message) }
            }
        }
    }

    /// `KEY=VALUE` lines; unknown keys are nobody's business here.
    static func parse(_ bytes: ArraySlice<UInt8>) -> [Message] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            if line == "READY=1" { return .ready }
            if line == "WATCHDOG=1" { return .watchdog }
            if line == "WATCHDOG=trigger" { return .watchdogTrigger }
            if line == "STOPPING=1" { return .stopping }
            if line.hasPrefix("STATUS=") { return .status(String(line.dropFirst("STATUS=".count))) }
            return nil
        }
    }
}
