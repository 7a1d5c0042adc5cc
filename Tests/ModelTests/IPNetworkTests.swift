import Model
import Testing

@Suite struct IPNetworks {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false), ("0.0.0.0/0", "203.0.113.9", true),
        ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7/32", "192.0.2.6", false), ("192.0.2.128/25", "192.0.2.127", false),
        ("fd00::/8", "fdff::1", true), ("fd00::/8", "fe00::1", false), ("::/0", "2001:db8::1", true),
        ("2001:db8::/64", "2001:db8::ffff", true),
        ("2001:db8::/64", "2001:db8:0:1::", false), ("2001:db8::/65", "2001:db8::8000:0:0:0", false), ("::1", "::1", true),
        ("2001:db8::f0/124", "2001:db8::ff", true), ("2001:db8::f0/124", "2001:db8::100", false), ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("192.0.2.4/30", "192.0.2.7", true), ("192.0.2.4/30", "192.0.2.8", false), ("2001:db8::/32", "2001:db9::", false),
        ("2001:db8::/63", "2001:db8:0:1::", true), ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
        ("10.0.0.0/8", "::10.1.2.3", false), ("::/0", "10.1.2.3", false), ("0.0.0.0/0", "::1", false),
    ])
    func anAddressIsInItsBlockOnly(block: String, address: String, expected: Bool) throws {
        let network = try #require(IPNetwork(block))
        #expect(network.contains(try #require(SocketAddress(ip: address, port: 443))) == expected)
    }

    @Test(arguments: [
        "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "::/129", "::1/64", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0/8", "a/8",
        "10.0.0.0/ 8", "2001:db8::1/32", "10.0.0.0/-1", "/8",
    ])
    func whatIsNoBlockIsRefused(text: String) { #expect(IPNetwork(text) == nil) }

    @Test(arguments: ["10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "fd00::/8", "::1/128"])
    func aBlockReadsBackWhatItPrints(text: String) throws {
        #expect(try #require(IPNetwork(text)).description == text)
    }
}
