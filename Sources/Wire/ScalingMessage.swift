import Model

/// Scaler → pool-keeper.
public enum ScalingRequest: WireMessage {
    /// Drain up to `most` local endpoints of the pool that have been free for `idleFor`, the longest idle first.
    case drainIdle(pool: PoolID, idleFor: Duration, most: UInt32)
    /// Drain this one now; `drained` follows when its last lease has ended.
    case drain(EndpointID)
    case undrain(EndpointID)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .drainIdle(let pool, let idleFor, let most):
            writer.integer(UInt8(1))
            writer.pool(pool)
            writer.duration(idleFor)
            writer.integer(most)
        case .drain(let endpoint):
            writer.integer(UInt8(2))
            writer.endpoint(endpoint)
        case .undrain(let endpoint):
            writer.integer(UInt8(3))
            writer.endpoint(endpoint)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> ScalingRequest {
        switch try reader.integer(UInt8.self) {
        case 1: return .drainIdle(pool: try reader.pool(), idleFor: try reader.duration("idle-for"), most: try reader.integer())
        case 2: return .drain(try reader.endpoint())
        case 3: return .undrain(try reader.endpoint())
        case let tag: throw .unknownValue(field: "scaling request", value: UInt64(tag))
        }
    }
}

/// Pool-keeper → scaler.
public enum ScalingReply: WireMessage {
    /// The endpoint takes nothing new and has no lease open: it can be stopped.
    case drained(EndpointID)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .drained(let endpoint):
            writer.integer(UInt8(1))
            writer.endpoint(endpoint)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> ScalingReply {
        switch try reader.integer(UInt8.self) {
        case 1: return .drained(try reader.endpoint())
        case let tag: throw .unknownValue(field: "scaling reply", value: UInt64(tag))
        }
    }
}
