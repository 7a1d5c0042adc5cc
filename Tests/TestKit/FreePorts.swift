import CLinux
import Foundation
import Linux
import Model
import Synchronization

/// Runs of ports that nobody uses and that the kernel gives to nobody: below its range for port 0, and each given out once.
public enum FreePorts {
    private static let next = Mutex<UInt16>(UInt16(12_000 + Int(getpid()) % 40 * 200))

    public static func take(_ count: UInt16) throws -> ClosedRange<UInt16> {
        for _ in 0..<200 {
            let first = next.withLock { next in
                defer { next = next > 31_000 ? 12_000 : next + count }
                return next
            }
            if (first..<first + count).allSatisfy(isFree) { return first...first + count - 1 }
        }
        throw TestFailure("no \(count) free ports in a row")
    }

    private static func isFree(_ port: UInt16) -> Bool {
        (try? Sockets.listen(SocketAddress.loopback(port: port).forKernel)) != nil
    }
}
