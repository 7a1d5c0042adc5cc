import CLinux
import Linux
import Wire

/// The descriptors of the packet that is being read; what nobody takes is closed when its owner has seen the packet.
///
/// One per link, filled anew by every packet: receiving allocates nothing.
public final class ReceivedDescriptors {
    private let numbers = UnsafeMutablePointer<Int32>.allocate(capacity: Bounds.packetDescriptors)
    private var first = 0
    private var end = 0

    init() {}

    deinit {
        closeRest()
        numbers.deallocate()
    }

    /// Those that are left.
    public var count: Int { end - first }

    /// The next descriptor in the sender's order; the caller owns it.
    public func takeFirst() -> Descriptor? {
        guard first < end else { return nil }
        defer { first += 1 }
        return Descriptor(owning: numbers[first])
    }

    /// As recv(2), with descriptors; `wasCut` says that bytes or descriptors were lost (MSG_TRUNC, MSG_CTRUNC).
    func receive(_ socket: Int32, into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, wasCut: Bool) {
        closeRest()
        var received: Int32 = 0
        var truncated: Int32 = 0
        let count = lh_receive_descriptors(
            socket, buffer.baseAddress, buffer.count, numbers, Int32(Bounds.packetDescriptors), &received, &truncated)
        first = 0
        end = Int(received)
        return (count, truncated != 0)
    }

    func closeRest() {
        while first < end {
            _ = lh_close(numbers[first])
            first += 1
        }
    }
}
