import Model
import Wire

/// Messages of the leasing edge and their bytes in version 3, in hexadecimal: field by field, separated by spaces.
enum Golden {
    private static let lease = LeaseID(epoch: 1, counter: 2)
    private static let caller = ConnectionID(slot: 3, generation: 4)
    private static let worker = EscrowedWorker(lease: lease, caller: caller, worker: ConnectionID(slot: 5, generation: 6))
    private static let address = SocketAddress(v4: 0x7f00_0001, port: 80)
    private static let asserted = AssertedLease(
        lease: lease, pool: PoolID(rawValue: 7), endpoint: EndpointID(high: 8, low: 9), address: address, age: .microseconds(10),
        isEnding: true, tenant: TenantID(rawValue: 11))
    private static let ticket = Ticket(id: TicketID(rawValue: 1), connection: caller, pool: PoolID(rawValue: 4))

    private static let leaseBytes = "0100000000000000 0200000000000000"
    private static let callerBytes = "03000000 04000000"
    private static let workerBytes = "05000000 06000000"
    private static let ticketBytes = "0100000000000000 \(callerBytes) 04000000 0000000000000000 00 03 0000 0000 00000000 00"
    private static let assertedBytes =
        "\(leaseBytes) 07000000 0800000000000000 0900000000000000 04 5000 0000000000000000 0100007f00000000 0a00000000000000 01 00 0b00000000000000"

    static let requests: [(LeasingRequest, String)] = [
        frame(.ticket(ticket), "01 \(ticketBytes)"),
        frame(.cancel(TicketID(rawValue: 0x0102)), "02 0201000000000000"),
        frame(.release(lease, .busy), "06 \(leaseBytes) 06"),
        frame(.assertLease(asserted), "07 \(assertedBytes)"),
        frame(.asserted, "08"),
        frame(.escrow(.records), "09 01"),
        frame(.escrow(.pipes(index: 0x0102)), "09 02 02010000"),
        frame(.escrow(.caller(caller)), "09 03 \(callerBytes) 01"),
        frame(.escrow(.caller(caller, finMeansGone: false)), "09 03 \(callerBytes) 00"),
        frame(.escrow(.callerGone(caller)), "09 04 \(callerBytes)"),
        frame(.escrow(.worker(worker)), "09 05 \(leaseBytes) \(callerBytes) \(workerBytes)"),
    ]

    static let replies: [(LeasingReply, String)] = [
        frame(
            .refuse(
                Refusal(
                    ticket: TicketID(rawValue: 1), reason: .holdTimeout, retryAfter: .microseconds(2), queued: 3, position: 4,
                    oldestWait: .microseconds(5))),
            "02 0100000000000000 02 01 0200000000000000 03000000 04000000 0500000000000000"),
        frame(.revoke(lease), "04 \(leaseBytes)"),
        frame(.adopt(.records), "05 01"),
        frame(.adopt(.pipes(index: 7)), "05 02 07000000"),
        frame(.adopt(.caller(caller)), "05 03 \(callerBytes)"),
        frame(.adopt(.worker(worker, asserted)), "05 04 \(callerBytes) \(workerBytes) \(assertedBytes)"),
        frame(.adopt(.end), "05 05"),
    ]

    private static func frame<Message>(_ message: Message, _ hex: String) -> (Message, String) { (message, hex.filter { $0 != " " }) }
}
