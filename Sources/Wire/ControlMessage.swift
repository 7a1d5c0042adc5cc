import Model

/// What the operator's command asks of a process.
public enum ControlRequest: WireMessage {
    /// A report as JSON: `pools`, `endpoints`, `leases`, `queue`, `process`, `listeners`, `source`.
    case show(String)
    /// An endpoint by UID, name or address; an empty pool means every pool that it is in.
    case drain(endpoint: String, pool: String)
    case undrain(endpoint: String, pool: String)
    case quarantine(endpoint: String, pool: String, duration: Duration)
    /// Hold every job of the pool; with `refuse`, answer at once.
    case pause(pool: String, refuse: Bool)
    case resume(pool: String)
    /// An order to the asset cache, with its arguments.
    case assets(String, [String])
    /// Up to so many endpoints of the pool that have no job, the longest idle first.
    case drainIdle(pool: String, most: UInt32)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .show(let what):
            writer.integer(UInt8(1))
            writer.string(what)
        case .drain(let endpoint, let pool):
            writer.integer(UInt8(2))
            writer.string(endpoint)
            writer.string(pool)
        case .undrain(let endpoint, let pool):
            writer.integer(UInt8(3))
            writer.string(endpoint)
            writer.string(pool)
        case .quarantine(let endpoint, let pool, let duration):
            writer.integer(UInt8(4))
            writer.string(endpoint)
            writer.string(pool)
            writer.duration(duration)
        case .pause(let pool, let refuse):
            writer.integer(UInt8(5))
            writer.string(pool)
            writer.flag(refuse)
        case .resume(let pool):
            writer.integer(UInt8(6))
            writer.string(pool)
        case .assets(let order, let arguments):
            writer.integer(UInt8(20))
            writer.string(order)
            writer.integer(UInt16(clamping: arguments.count))
            for argument in arguments.prefix(Int(UInt16.max)) { writer.string(argument) }
        case .drainIdle(let pool, let most):
            writer.integer(UInt8(7))
            writer.string(pool)
            writer.integer(most)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> ControlRequest {
        switch try reader.integer(UInt8.self) {
        case 1: return .show(try reader.string("report"))
        case 2: return .drain(endpoint: try reader.string("endpoint"), pool: try reader.string("pool"))
        case 3: return .undrain(endpoint: try reader.string("endpoint"), pool: try reader.string("pool"))
        case 4:
            return .quarantine(
                endpoint: try reader.string("endpoint"), pool: try reader.string("pool"), duration: try reader.duration("duration"))
        case 5: return .pause(pool: try reader.string("pool"), refuse: try reader.flag("refuse"))
        case 6: return .resume(pool: try reader.string("pool"))
        case 20:
            let order = try reader.string("order")
            var arguments: [String] = []
            for _ in 0..<(try reader.integer(UInt16.self)) { arguments.append(try reader.string("argument")) }
            return .assets(order, arguments)
        case 7: return .drainIdle(pool: try reader.string("pool"), most: try reader.integer())
        case let tag: throw .unknownValue(field: "control request", value: UInt64(tag))
        }
    }
}

/// A process's answer: text in parts (JSON for a report), then the end with a status of sysexits(3), 0 for success.
public enum ControlReply: WireMessage {
    case part(String)
    case end(status: UInt8, message: String)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .part(let text):
            writer.integer(UInt8(1))
            writer.string(text)
        case .end(let status, let message):
            writer.integer(UInt8(2))
            writer.integer(status)
            writer.string(message)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> ControlReply {
        switch try reader.integer(UInt8.self) {
        case 1: return .part(try reader.string("part"))
        case 2: return .end(status: try reader.integer(), message: try reader.string("message"))
        case let tag: throw .unknownValue(field: "control reply", value: UInt64(tag))
        }
    }
}
