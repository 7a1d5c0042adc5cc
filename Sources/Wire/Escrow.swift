import Model

/// A worker's connection in escrow, and the names that its dispatcher has for both sides of the session.
public struct EscrowedWorker: Hashable, Sendable {
    public var lease: LeaseID
    /// The caller that the lease serves; it may be gone by now (an *ending* lease).
    public var caller: ConnectionID
    /// The dispatcher's own name for the worker's connection: where its record is.
    public var worker: ConnectionID

    public init(lease: LeaseID, caller: ConnectionID, worker: ConnectionID) {
        self.lease = lease
        self.caller = caller
        self.worker = worker
    }
}

/// What a dispatcher puts into escrow and takes out again: a part of ``LeasingRequest``.
///
/// Sent after ``Adoption/end`` only. What has a name that is in escrow already replaces it. The descriptors of a packet are those of its
/// messages, in their order; ``descriptors`` says how many each has. Too few or too many end the link.
public enum Escrow: WireMessage {
    /// 1 descriptor: the memfd with the fixed-size records of every session. The pool-keeper keeps it and never looks inside.
    case records
    /// 2 descriptors, read end and write end: a pair of the dispatcher's pipes, by index; never taken back while the process lives.
    case pipes(index: UInt32)
    /// 1 descriptor: a caller's socket, once, when it was accepted. `finMeansGone` says whether a FIN while parked means that it left
    /// (`parked-fin: gone`).
    case caller(ConnectionID, finMeansGone: Bool = true)
    /// The caller's connection is over: its duplicate is closed.
    case callerGone(ConnectionID)
    /// 1 descriptor: a worker's socket, before the first byte goes there. The end of the lease takes it out again.
    case worker(EscrowedWorker)

    /// How many descriptors come with the message.
    public var descriptors: Int {
        switch self {
        case .records, .caller, .worker: 1
        case .pipes: 2
        case .callerGone: 0
        }
    }

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .records: writer.integer(UInt8(1))
        case .pipes(let index):
            writer.integer(UInt8(2))
            writer.integer(index)
        case .caller(let caller, let finMeansGone):
            writer.integer(UInt8(3))
            writer.connection(caller)
            writer.flag(finMeansGone)
        case .callerGone(let caller):
            writer.integer(UInt8(4))
            writer.connection(caller)
        case .worker(let worker):
            writer.integer(UInt8(5))
            writer.lease(worker.lease)
            writer.connection(worker.caller)
            writer.connection(worker.worker)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> Escrow {
        switch try reader.integer(UInt8.self) {
        case 1: return .records
        case 2: return .pipes(index: try reader.pipe())
        case 3: return .caller(try reader.connection(), finMeansGone: try reader.flag("fin means gone"))
        case 4: return .callerGone(try reader.connection())
        case 5:
            return .worker(EscrowedWorker(lease: try reader.lease(), caller: try reader.connection(), worker: try reader.connection()))
        case let tag: throw .unknownValue(field: "escrow", value: UInt64(tag))
        }
    }
}

/// What the pool-keeper hands to a dispatcher after its hello: a part of ``LeasingReply``.
///
/// Always ended by ``end``, also where there is nothing to hand over; the dispatcher says nothing before it. The descriptors of a packet
/// are those of its messages, in their order, as for ``Escrow``.
public enum Adoption: WireMessage {
    /// 1 descriptor: the predecessor's records. First, if there are any.
    case records
    /// 2 descriptors, read end and write end.
    case pipes(index: UInt32)
    /// 1 descriptor.
    case caller(ConnectionID)
    /// 1 descriptor: a worker's socket, with all that the pool-keeper knows of the lease.
    case worker(EscrowedWorker, AssertedLease)
    /// That was all: the dispatcher tells what it holds now.
    case end

    /// How many descriptors come with the message.
    public var descriptors: Int {
        switch self {
        case .records, .caller, .worker: 1
        case .pipes: 2
        case .end: 0
        }
    }

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .records: writer.integer(UInt8(1))
        case .pipes(let index):
            writer.integer(UInt8(2))
            writer.integer(index)
        case .caller(let caller):
            writer.integer(UInt8(3))
            writer.connection(caller)
        case .worker(let worker, let lease):
            writer.integer(UInt8(4))
            writer.connection(worker.caller)
            writer.connection(worker.worker)
            writer.asserted(lease)
        case .end: writer.integer(UInt8(5))
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> Adoption {
        switch try reader.integer(UInt8.self) {
        case 1: return .records
        case 2: return .pipes(index: try reader.pipe())
        case 3: return .caller(try reader.connection())
        case 4:
            let (caller, worker) = (try reader.connection(), try reader.connection())
            let lease = try reader.assertedLease()
            return .worker(EscrowedWorker(lease: lease.lease, caller: caller, worker: worker), lease)
        case 5: return .end
        case let tag: throw .unknownValue(field: "adoption", value: UInt64(tag))
        }
    }
}
