import CLinux

/// Notifications of changes in directories (inotify(7)). Readable when there is something to read.
public final class Inotify {
    private let descriptor: Descriptor
    /// Room for a few hundred events; an event with the longest name has 272 bytes.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 8)

    /// What happened, by the kernel's bits.
    public struct Mask: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let attributes = Mask(rawValue: UInt32(IN_ATTRIB))
        public static let closedAfterWrite = Mask(rawValue: UInt32(IN_CLOSE_WRITE))
        public static let movedFrom = Mask(rawValue: UInt32(IN_MOVED_FROM))
        public static let movedTo = Mask(rawValue: UInt32(IN_MOVED_TO))
        public static let created = Mask(rawValue: UInt32(IN_CREATE))
        public static let deleted = Mask(rawValue: UInt32(IN_DELETE))
        public static let selfDeleted = Mask(rawValue: UInt32(IN_DELETE_SELF))
        public static let selfMoved = Mask(rawValue: UInt32(IN_MOVE_SELF))
        /// Only reported: the file system was unmounted.
        public static let unmounted = Mask(rawValue: UInt32(IN_UNMOUNT))
        /// Only reported: events were lost.
        public static let overflow = Mask(rawValue: UInt32(IN_Q_OVERFLOW))
        /// Only reported: the watch is gone.
        public static let ignored = Mask(rawValue: UInt32(IN_IGNORED))
    }

    public struct Event: Hashable, Sendable {
        /// The watch that it is about; −1 for an overflow.
        public var watch: Int32
        public var mask: Mask
        /// The file in the watched directory; empty for the directory itself. A name that is not UTF-8 is given with replacements.
        public var name: String
    }

    public init() throws(SystemError) {
        descriptor = Descriptor(owning: Int32(try check(lh_inotify(), "inotify_init1")))
    }

    deinit { buffer.deallocate() }

    public var fileDescriptor: Int32 { descriptor.raw }

    /// Watches a directory; the same directory again gives the same watch.
    public func watch(_ path: String, _ mask: Mask) throws(SystemError) -> Int32 {
        let bits = mask.rawValue | UInt32(IN_ONLYDIR)
        return Int32(try check(lh_inotify_add(descriptor.raw, path, bits), "inotify_add_watch", path))
    }

    /// Ends a watch.
    public func unwatch(_ watch: Int32) {
        // EINVAL: the kernel ended it first, with the directory.
        _ = lh_inotify_remove(descriptor.raw, watch)
    }

    /// Every event that is waiting, in order.
    public func read() throws(SystemError) -> [Event] {
        var events: [Event] = []
        while true {
            let count = lh_read(descriptor.raw, buffer.baseAddress, buffer.count)
            // 0 does not happen; if it did, asking again would not help.
            if count == Int(-EAGAIN) || count == 0 { return events }
            if count == Int(-EINTR) { continue }
            parse(UnsafeRawBufferPointer(rebasing: buffer[..<(try check(count, "read", "inotify"))]), &events)
        }
    }

    private func parse(_ bytes: UnsafeRawBufferPointer, _ events: inout [Event]) {
        let head = MemoryLayout<inotify_event>.size
        var offset = 0
        while bytes.count - offset >= head {
            let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            let end = min(bytes.count, offset + head + Int(event.len))
            let name = bytes[(offset + head)..<end].prefix { $0 != 0 }
            events.append(Event(watch: event.wd, mask: Mask(rawValue: event.mask), name: String(decoding: name, as: UTF8.self)))
            offset = end
        }
    }
}
