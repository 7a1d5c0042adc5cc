import Model
import Wire

/// The last complete state, as it outlives the process: what an earlier life served, and how old it was.
///
/// In bytes: magic, version, generation, age; packets of `upsert` messages, each behind its length; a zero length;
/// and a checksum over all of it. Written from one version of this program to itself: another version reads it as none.
public struct SavedState: Hashable, Sendable {
    public var generation: UInt64
    /// How long ago the state was in step with its source.
    public var age: Duration
    public var endpoints: [PoolID: [EndpointID: Endpoint]]

    public init(generation: UInt64, age: Duration, endpoints: [PoolID: [EndpointID: Endpoint]]) {
        self.generation = generation
        self.age = age
        self.endpoints = endpoints
    }

    private static let magic: UInt32 = 0x5345_484c  // "LHES"
    private static let version: UInt16 = 1

    /// Why bytes are no saved state.
    public enum Damage: Error, Hashable, Sendable {
        case notOne
        case version(UInt16)
        case checksum
        case content(WireError)
    }

    /// Gives its bytes in pieces of at most a packet, endpoints in no certain order. O(endpoints).
    public func encode(_ emit: (UnsafeRawBufferPointer) -> Void) {
        var sum = Checksum()
        var writer = ByteWriter()
        func flush(_ writer: inout ByteWriter) {
            sum.add(writer.bytes)
            emit(writer.bytes)
            writer.removeAll()
        }
        writer.integer(Self.magic)
        writer.integer(Self.version)
        writer.integer(generation)
        writer.integer(UInt64(clamping: age.microseconds))
        flush(&writer)

        var packet = ByteWriter()
        func flushPacket(_ packet: inout ByteWriter, _ writer: inout ByteWriter) {
            if packet.isEmpty { return }
            writer.integer(UInt32(packet.count))
            flush(&writer)
            flush(&packet)
        }
        for (pool, members) in endpoints {
            for endpoint in members.values {
                let message = EndpointsMessage.upsert(pool: pool, endpoint)
                let mark = packet.count
                message.encode(into: &packet)
                if packet.overflowed {
                    packet.rewind(to: mark)
                    flushPacket(&packet, &writer)
                    message.encode(into: &packet)
                }
            }
        }
        flushPacket(&packet, &writer)
        writer.integer(UInt32(0))
        flush(&writer)
        writer.integer(sum.value)
        emit(writer.bytes)
    }

    /// Reads what ``encode(_:)`` gave. O(bytes).
    public init(_ bytes: UnsafeRawBufferPointer) throws(Damage) {
        guard bytes.count >= 8 else { throw .notOne }
        let body = UnsafeRawBufferPointer(rebasing: bytes.dropLast(8))
        let trailer = UnsafeRawBufferPointer(rebasing: bytes.suffix(8))
        var cursor = Cursor(bytes: body)
        guard try cursor.integer(UInt32.self) == Self.magic else { throw .notOne }
        let version = try cursor.integer(UInt16.self)
        guard version == Self.version else { throw .version(version) }
        var sum = Checksum()
        sum.add(body)
        var last = Cursor(bytes: trailer)
        guard try last.integer(UInt64.self) == sum.value else { throw .checksum }

        generation = try cursor.integer()
        age = .microseconds(Int64(min(try cursor.integer(UInt64.self), 366 * 86_400 * 1_000_000)))
        endpoints = [:]
        while true {
            let length = Int(try cursor.integer(UInt32.self))
            if length == 0 { break }
            var packet = ByteReader(try cursor.part(length))
            while !packet.isAtEnd {
                let message: EndpointsMessage
                do throws(WireError) { message = try .decode(from: &packet) } catch { throw .content(error) }
                // Nothing else is ever written.
                guard case .upsert(let pool, let endpoint) = message else { throw .notOne }
                endpoints[pool, default: [:]][endpoint.id] = endpoint
            }
        }
        guard cursor.isAtEnd else { throw .notOne }
    }

    /// Reads fields and parts of a buffer that may end anywhere.
    private struct Cursor {
        let bytes: UnsafeRawBufferPointer
        var offset = 0

        init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        var isAtEnd: Bool { offset == bytes.count }

        mutating func part(_ length: Int) throws(Damage) -> UnsafeRawBufferPointer {
            guard length <= bytes.count - offset else { throw .content(.truncated) }
            defer { offset += length }
            return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
        }

        mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(Damage) -> T {
            T(littleEndian: try part(MemoryLayout<T>.size).loadUnaligned(as: T.self))
        }
    }

    /// 64-bit FNV-1a (draft-eastlake-fnv): against torn and rotten files, not against forgers.
    private struct Checksum {
        private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

        mutating func add(_ bytes: UnsafeRawBufferPointer) {
            for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        }
    }
}
