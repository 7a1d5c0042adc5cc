import Foundation
import Model
import ServiceKit
import Testing
import Wire

@testable import leasehold

@Suite struct Reports {
    private let endpoint = Endpoint(
        id: EndpointID(uid: "u-1"), uid: "u-1", name: "browser-0",
        addresses: [.loopback(port: 21_000), SocketAddress(family: .v6, high: 0, low: 1, port: 21_000)], node: "n1", zone: "z",
        isLocal: true)

    @Test func aPoolsNumbersAreThoseOfItsState() {
        var state = PoolState(pool: PoolID(name: "browsers"))
        state.free = 2
        state.leased = 3
        state.ending = 1
        state.unready = 4
        state.quarantined = 1
        state.leases = 4
        state.queued = 5
        state.oldestWait = .milliseconds(1_250)
        let report = PoolReport(pool: "browsers", state: state)
        #expect(report.total == 11)
        #expect(report.ready == 7)
        #expect(report.demand == 9)
        #expect(report.oldestWaitMs == 1_250)
        #expect(
            Table([report]).render(coloured: false) == """
                POOL      DEMAND  QUEUED  OLDEST  TOTAL  READY  FREE  LEASED  ENDING  RECOVERING  QUARANTINED  DRAINING  STATE
                browsers       9       5    1.2s     11      7     2       3       1           0            1         0  open

                """)
    }

    @Test func anEndpointIsNamedAsItsVerbsTakeIt() {
        let report = EndpointReport(
            pool: "browsers", endpoint: endpoint, state: .quarantined, slots: 1, leases: 0, gone: false, remaining: .seconds(12),
            nodeAvoided: true)
        #expect(
            Table([report]).render(coloured: false) == """
                POOL      ENDPOINT   ADDRESS          STATE         LEFT  LEASES  SLOTS  NODE  ZONE  NOTES
                browsers  browser-0  127.0.0.1:21000  quarantined  12.0s       0      1  n1    z     local,node-avoided,+1 address

                """)
    }

    @Test func aLeaseAndATicketTellTheirSeat() {
        let lease = LeaseReport(
            lease: LeaseID(epoch: 1_700_000_000, counter: 7), pool: "browsers", endpoint: "u-1", address: .loopback(port: 21_000),
            seat: "0",
            age: .seconds(65), ending: true, probe: false, escrowed: true)
        #expect(
            Table([lease]).render(coloured: false) == """
                POOL      LEASE         ENDPOINT  ADDRESS            AGE  SEAT  ESCROW  NOTES
                browsers  1700000000.7  u-1       127.0.0.1:21000  1m05s     0  yes     ending

                """)
        let ticket = TicketReport(
            pool: "browsers", place: 1, ticket: TicketID(rawValue: 9), seat: "0", age: .milliseconds(400), remaining: nil,
            urgency: .standard, bytes: 412, requeued: false)
        #expect(
            Table([ticket]).render(coloured: false) == """
                POOL      PLACE    AGE  LEFT  URGENCY  TENANT   BYTES  TICKET  SEAT  NOTES
                browsers      1  400ms  -           3  default    412       9     0  dispatcher-away

                """)
    }

    @Test func reportsSurviveJSON() throws {
        let report = EndpointReport(
            pool: "p", endpoint: endpoint, state: .free, slots: 2, leases: 1, gone: true, remaining: nil, nodeAvoided: false)
        #expect(try JSONDecoder().decode(EndpointReport.self, from: JSONEncoder().encode(report)) == report)
    }
}
