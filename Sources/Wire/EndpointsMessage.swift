import Model

/// Watcher → pool-keeper (and whoever else subscribes): the endpoints of every pool, as one ordered feed.
///
/// On connect: `source`, `snapshotBegin`, every endpoint, `snapshotEnd`; then deltas. A snapshot counts only when
/// complete: until its end the receiver keeps what it had.
public enum EndpointsMessage: WireMessage {
    case snapshotBegin(generation: UInt64)
    case snapshotEnd(generation: UInt64)
    case upsert(pool: PoolID, Endpoint)
    case remove(pool: PoolID, EndpointID)
    case source(SourceHealth)
    /// What was told since the last message of this kind began at its source this long ago.
    case propagated(age: Duration)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .snapshotBegin(let generation):
            writer.integer(UInt8(1))
            writer.integer(generation)
        case .snapshotEnd(let generation):
            writer.integer(UInt8(2))
            writer.integer(generation)
        case .upsert(let pool, let endpoint):
            writer.integer(UInt8(3))
            writer.pool(pool)
            writer.description(of: endpoint)
        case .remove(let pool, let endpoint):
            writer.integer(UInt8(4))
            writer.pool(pool)
            writer.endpoint(endpoint)
        case .source(let health):
            writer.integer(UInt8(5))
            writer.integer(health.state.rawValue)
            writer.duration(health.age)
            writer.string(health.detail)
        case .propagated(let age):
            writer.integer(UInt8(6))
            writer.duration(age)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> EndpointsMessage {
        switch try reader.integer(UInt8.self) {
        case 1: return .snapshotBegin(generation: try reader.integer())
        case 2: return .snapshotEnd(generation: try reader.integer())
        case 3: return .upsert(pool: try reader.pool(), try reader.endpointDescription())
        case 4: return .remove(pool: try reader.pool(), try reader.endpoint())
        case 5:
            return .source(
                SourceHealth(
                    state: try reader.byte(SourceHealth.State.self, "source state"), age: try reader.duration("source age"),
                    detail: try reader.string("source detail")))
        case 6: return .propagated(age: try reader.duration("propagation age"))
        case let tag: throw .unknownValue(field: "endpoints message", value: UInt64(tag))
        }
    }
}

/// How much the watcher's knowledge is worth.
public struct SourceHealth: Hashable, Sendable {
    public enum State: UInt8, Sendable, Hashable {
        /// Nothing has ever been read: not the same as empty.
        case unknown = 0
        /// In step with the source.
        case live
        /// The last complete state, served while the source is away.
        case stale
    }

    public var state: State
    /// Since the state was last known to be in step with the source.
    public var age: Duration
    /// One line for people.
    public var detail: String

    public init(state: State, age: Duration = .zero, detail: String = "") {
        self.state = state
        self.age = age
        self.detail = detail
    }
}

/// Scaler → watcher: the local workers that accept connections, merged by the watcher with its source.
public enum WorkersMessage: WireMessage {
    case snapshotBegin
    case snapshotEnd
    case upsert(pool: PoolID, Endpoint)
    case remove(pool: PoolID, EndpointID)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .snapshotBegin: writer.integer(UInt8(1))
        case .snapshotEnd: writer.integer(UInt8(2))
        case .upsert(let pool, let endpoint):
            writer.integer(UInt8(3))
            writer.pool(pool)
            writer.description(of: endpoint)
        case .remove(let pool, let endpoint):
            writer.integer(UInt8(4))
            writer.pool(pool)
            writer.endpoint(endpoint)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> WorkersMessage {
        switch try reader.integer(UInt8.self) {
        case 1: return .snapshotBegin
        case 2: return .snapshotEnd
        case 3: return .upsert(pool: try reader.pool(), try reader.endpointDescription())
        case 4: return .remove(pool: try reader.pool(), try reader.endpoint())
        case let tag: throw .unknownValue(field: "workers message", value: UInt64(tag))
        }
    }
}

/// Nothing is ever said in this direction after the hello.
public enum NoMessage: WireMessage {
    public func encode(into writer: inout ByteWriter) {}
    public static func decode(from reader: inout ByteReader) throws(WireError) -> NoMessage {
        throw .unknownValue(field: "message on a one-way edge", value: UInt64((try? reader.integer(UInt8.self)) ?? 0))
    }
}
