import Model
import Testing

@testable import DispatcherCore

struct AddressTests {
    @Test func trustedPeersAreBelievedWhatTheListenerSays() throws {
        let rules = TrustRules(from: [try #require(IPNetwork("10.0.0.0/8"))], headers: [.tenant, .forwarded])
        let inside = try #require(SocketAddress(ip: "::ffff:10.1.1.1", port: 5))
        #expect(rules.peer(inside) == Peer(address: SocketAddress(ip: "10.1.1.1", port: 5), believed: [.tenant, .forwarded, .affinity]))
        #expect(rules.peer(SocketAddress(ip: "11.1.1.1", port: 5)).believed == .affinity)
        #expect(rules.peer(nil).believed == .affinity && !rules.trusts(nil))
        #expect(TrustRules(from: [], trustsUnix: true).peer(nil).believed == .everything)
        #expect(!TrustRules().trusts(inside) && rules.trusts(inside))
    }

    /// The texts of random addresses, with many zero groups, agree with the model's.
    @Test(arguments: [1, 2] as [UInt64]) func textAgreesWithTheModels(_ seed: UInt64) {
        var random = MutationGenerator(seed: seed)
        for _ in 0..<3000 {
            var words: (UInt64, UInt64) = (0, 0)
            for _ in 0..<4 {
                let group = random.below(2) == 0 ? 0 : UInt64(random.below(3) == 0 ? random.below(16) : random.below(65536))
                let group2 = random.below(2) == 0 ? 0 : UInt64(random.below(65536))
                words = (words.0 << 16 | group, words.1 << 16 | group2)
            }
            for address in [
                SocketAddress(family: .v6, high: words.0, low: words.1, port: 7),
                SocketAddress(v4: UInt32(truncatingIfNeeded: words.1), port: 7),
            ] {
                let text = sunk { $0.append(ip: address) }.text
                #expect(text == address.ip, "seed \(seed)")
                #expect(latin1(text).withUnsafeBytes { SocketAddress(ip: $0, port: 7) } == address, "seed \(seed) \(text)")
            }
        }
    }

    /// Both accept and refuse the same texts, also nonsense.
    @Test(arguments: [1, 2] as [UInt64]) func readingAgreesWithTheModels(_ seed: UInt64) {
        var random = MutationGenerator(seed: seed)
        let starts = [
            "1.2.3.4", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::8", "::ffff:1.2.3.4",
            "1:2:3:4:5:6:1.2.3.4", "fe80::a",
        ]
        let alphabet = latin1("0123456789abcfF:::...%g ")
        for round in 0..<5_000 {
            var bytes = latin1(starts[random.below(starts.count)])
            for _ in 0..<(round < starts.count ? 0 : random.below(4)) { random.mutate(&bytes, from: alphabet) }
            let expected = SocketAddress(ip: text(bytes), port: 1)
            #expect(bytes.withUnsafeBytes { SocketAddress(ip: $0, port: 1) } == expected, "seed \(seed) \(text(bytes))")
        }
    }
}
