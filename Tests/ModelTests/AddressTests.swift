import Model
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:8080", "[::1]:8080"), ("[2001:DB8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1"),
        ("[::ffff:10.0.0.1]:5", "[::ffff:a00:1]:5"), ("[::]:0", "[::]:0"), ("[1:2:3:4:5:6:7:8]:9", "[1:2:3:4:5:6:7:8]:9"),
        ("[fe80::]:9", "[fe80::]:9"),
    ])
    func anAddressIsPrintedInItsUsualForm(_ text: String, _ usual: String) {
        #expect(SocketAddress(text)?.description == usual)
    }

    @Test(arguments: [
        "", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.256:1", "127.0.1:1", "01.2.3.4:5", "::1:80", "[::1]", "[::1:80",
        "[1.2.3.4]:5", "[1::2::3]:4", "[:1]:2", "[1:2:3:4:5:6:7:8:9]:1", "[12345::]:1", "[::g]:1", "host:80", "[1:2:3:4:5:6:7::8]:1",
    ])
    func whatIsNoAddressIsRefused(_ text: String) { #expect(SocketAddress(text) == nil) }

    @Test func anEndpointIsItsPodUIDNeverItsAddress() {
        let uid = "501f3128-a6a3-46e7-8f3f-bbccdd36883c"
        #expect(EndpointID(uid: uid).description == uid)
        #expect(EndpointID(uid: uid) == EndpointID(uid: uid.uppercased()))
        #expect(EndpointID(uid: "worker-1") != EndpointID(uid: "worker-2"))
        #expect(EndpointID(address: SocketAddress("10.0.0.1:1")!) != EndpointID(address: SocketAddress("10.0.0.1:2")!))
    }

    @Test func tokensGrowByCounterThenByEpoch() {
        #expect(LeaseID(epoch: 1, counter: 9) < LeaseID(epoch: 2, counter: 1))
        #expect(LeaseID(epoch: 1, counter: 1) < LeaseID(epoch: 1, counter: 2))
        #expect(LeaseID("7.42") == LeaseID(epoch: 7, counter: 42))
        #expect(LeaseID("7") == nil && LeaseID("7.x") == nil && LeaseID("7.1.2") == nil)
    }

    @Test func instantsSaturateInsteadOfOverflowing() {
        #expect(Instant(nanoseconds: 5) + .seconds(Int64.max) == .never)
        #expect(Instant.never + .seconds(1) == .never)
        #expect((Instant(nanoseconds: 7) - Instant(nanoseconds: 3)).nanoseconds == 4)
    }

    @Test func everyReasonHasItsOwnToken() {
        #expect(Set(Reason.allCases.map(\.token)).count == Reason.allCases.count)
        #expect(Reason.allCases.allSatisfy { (400...599).contains($0.status) })
        #expect(Set(Outcome.allCases.map(\.name)).count == Outcome.allCases.count)
    }
}
