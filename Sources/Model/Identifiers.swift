/// A pool as processes name it to each other: the 32-bit FNV-1a hash of its configured name.
///
/// Every process computes it from the same configuration, so no table of numbers has to be kept in step
/// across restarts and reloads. Configuration refuses two pools whose names collide.
public struct PoolID: Hashable, Sendable, Comparable {
    public var rawValue: UInt32

    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(name: String) { rawValue = UInt32(truncatingIfNeeded: fnv1a(name.utf8, seed: 0x811c_9dc5, prime: 0x0100_0193)) }

    public static func < (a: PoolID, b: PoolID) -> Bool { a.rawValue < b.rawValue }
}

/// 32-bit FNV-1a (draft-eastlake-fnv).
private func fnv1a(_ bytes: String.UTF8View, seed: UInt32, prime: UInt32) -> UInt32 {
    bytes.reduce(seed) { ($0 ^ UInt32($1)) &* prime }
}

/// A tenant as processes name it to each other: the 64-bit FNV-1a hash of its configured name; 0 for the default one.
public struct TenantID: Hashable, Sendable {
    public var rawValue: UInt64

    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Empty is the default tenant.
    public init(name: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        rawValue = name.isEmpty ? 0 : hash
    }

    public static let standard = TenantID(rawValue: 0)
}

/// One worker's identity, 128 bits: the pod UID itself where there is one (RFC 9562), otherwise a hash of
/// the UID's text or of address and port. Never the IP alone, because IPs are reused.
public struct EndpointID: Hashable, Sendable, Comparable {
    public var high: UInt64
    public var low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// From `targetRef.uid`. A UUID keeps its bits; any other text is hashed.
    public init(uid: String) {
        if let uuid = EndpointID(uuid: uid) { self = uuid } else { self.init(hashing: uid) }
    }

    /// For an endpoint without a UID: its first address with port is all the identity that there is.
    public init(address: SocketAddress) { self.init(hashing: address.description) }

    private init?(uuid text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 36 else { return nil }
        var value: (UInt64, UInt64) = (0, 0)
        var nibbles = 0
        for (i, byte) in bytes.enumerated() {
            if i == 8 || i == 13 || i == 18 || i == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let nibble = byte.hexNibble else { return nil }
            if nibbles < 16 { value.0 = value.0 << 4 | UInt64(nibble) } else { value.1 = value.1 << 4 | UInt64(nibble) }
            nibbles += 1
        }
        self.init(high: value.0, low: value.1)
    }

    /// Two 64-bit FNV-1a passes with different seeds, the second over the bytes reversed.
    private init(hashing text: String) {
        var a: UInt64 = 0xcbf2_9ce4_8422_2325
        var b: UInt64 = 0x6c62_272e_07bb_0142
        for byte in text.utf8 { a = (a ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        for byte in text.utf8.reversed() { b = (b ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        self.init(high: a, low: b)
    }

    public static func < (a: EndpointID, b: EndpointID) -> Bool { (a.high, a.low) < (b.high, b.low) }
}

extension EndpointID: CustomStringConvertible {
    /// The UUID's usual text; for a hashed identity the same form.
    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(36)
        for i in 0..<32 {
            if i == 8 || i == 12 || i == 16 || i == 20 { out.append(UInt8(ascii: "-")) }
            let word = i < 16 ? high : low
            out.append(digits[Int(word >> UInt64(60 - (i & 15) * 4) & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension UInt8 {
    /// The value of an ASCII hexadecimal digit, or nil.
    @inlinable public var hexNibble: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x41 + 10
        case 0x61...0x66: self - 0x61 + 10
        default: nil
        }
    }
}

/// A lease's token. Tokens of one pool-keeper only grow: by counter inside an epoch, by epoch across its restarts.
public struct LeaseID: Hashable, Sendable, Comparable {
    public var epoch: UInt64
    public var counter: UInt64

    @inlinable public init(epoch: UInt64, counter: UInt64) {
        self.epoch = epoch
        self.counter = counter
    }

    @inlinable public static func < (a: LeaseID, b: LeaseID) -> Bool {
        a.epoch != b.epoch ? a.epoch < b.epoch : a.counter < b.counter
    }
}

extension LeaseID: LosslessStringConvertible {
    public var description: String { "\(epoch).\(counter)" }

    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = UInt64(parts[0]), let counter = UInt64(parts[1]) else { return nil }
        self.init(epoch: epoch, counter: counter)
    }
}

/// A connection as its dispatcher names it: slot and generation, so that a stale name is noticed. It keeps its name when the next process
/// in the seat adopts it.
public struct ConnectionID: Hashable, Sendable, BitwiseCopyable {
    public var slot: UInt32
    public var generation: UInt32

    @inlinable public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// No connection: never in escrow.
    @inlinable public static var none: ConnectionID { ConnectionID(slot: .max, generation: 0) }
}

/// A job's place in line as its dispatcher names it: unique within one dispatcher instance.
public struct TicketID: Hashable, Sendable, Comparable {
    public var rawValue: UInt64

    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (a: TicketID, b: TicketID) -> Bool { a.rawValue < b.rawValue }
}
