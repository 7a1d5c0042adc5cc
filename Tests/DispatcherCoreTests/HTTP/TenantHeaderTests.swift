import Model
import Testing

@testable import DispatcherCore

private let named = HTTPRules(tenantHeader: "X-Moon-Quota")

/// What a listener with a tenant's field of its own makes of a request: its tenant, and the head that the worker gets; nil when refused.
private func read(_ fields: String, from peer: Peer, under rules: HTTPRules = named) -> (tenant: String, head: String)? {
    let request = latin1("GET / HTTP/1.1\r\nHost: x\r\n\(fields)\r\n")
    var parser = RequestParser()
    return request.withUnsafeBytes { bytes -> (String, String)? in
        guard case .request(let head) = parser.parse(bytes, from: peer, under: rules) else { return nil }
        let rewritten = sunk { parser.rewrite(head, of: bytes, from: peer, to: .fresh, into: &$0) }.text
        return (text(bytes.slice(head.tenant)), rewritten)
    }
}

struct TenantHeaderTests {
    @Test(
        arguments: [
            // Fields, the tenant of one who is trusted, what of it the worker gets of one who is trusted, and of one who is not.
            ("X-Moon-Quota: acme\r\n", "acme", true, false),
            ("x-moon-quota: acme\r\n", "acme", true, false),
            ("X-MOON-QUOTA:acme\r\n", "acme", true, false),
            // CGI and WSGI workers see no difference.
            ("X_Moon_Quota: acme\r\n", "", false, false),
            ("X-Moon_Quota: acme\r\n", "", false, false),
            // Not the name that counts here, and still nobody else's.
            ("Leasehold-Tenant: acme\r\n", "", false, false),
            ("Leasehold_Tenant: acme\r\n", "", false, false),
            ("X-Moon-Quotas: acme\r\n", "", true, true),
            ("X-Moon-Quot: acme\r\n", "", true, true),
        ] as [(String, String, Bool, Bool)])
    func aListenersOwnNameStandsForTheTenant(_ fields: String, _ tenant: String, _ friends: Bool, _ strangers: Bool) throws {
        let trusted = try #require(read(fields, from: friend))
        #expect(trusted.tenant == tenant)
        #expect(trusted.head.contains("acme") == friends)
        let other = try #require(read(fields, from: stranger))
        #expect(other.tenant.isEmpty)
        #expect(other.head.contains("acme") == strangers)
    }

    @Test func aTenantThatIsNamedTwiceByWhoIsBelievedIsRefused() {
        let twice = "X-Moon-Quota: a\r\nx-moon-quota: b\r\n"
        #expect(read(twice, from: friend) == nil)
        #expect(read(twice, from: stranger)?.tenant.isEmpty == true)
        // Each of two names, of which one counts.
        #expect(read("X-Moon-Quota: a\r\nLeasehold-Tenant: b\r\n", from: friend)?.tenant == "a")
    }

    @Test(arguments: ["X-Moon-Quota", "x_moon_quota", "Leasehold-Tenant"]) func connectionMayNotNameIt(_ name: String) {
        #expect(read("X-Moon-Quota: a\r\nX_Moon_Quota: b\r\nConnection: \(name)\r\n", from: friend) == nil)
    }

    @Test func withoutANameOfItsOwnItIsOurs() throws {
        let ours = try #require(read("Leasehold-Tenant: acme\r\nX-Moon-Quota: b\r\n", from: friend, under: rules))
        #expect(ours.tenant == "acme" && ours.head.contains("X-Moon-Quota: b"))
    }

    @Test(
        arguments: [
            ("acme", "acme"), ("a", "a"), ("zebra", "zebra"), ("ACME", nil), ("acm", nil), ("acmee", nil), ("", nil), ("default", nil),
            ("zz", nil), ("0", nil),
        ] as [(String, String?)])
    func onlyKnownTenantsAreFound(_ name: String, _ found: String?) {
        let table = TenantTable(["zebra", "acme", "default", "a", "b.c"])
        #expect(table.find(name)?.tenant == found)
    }

    @Test func anEmptyTableFindsNobody() {
        #expect(TenantTable([]).find("a") == nil)
        #expect(TenantTable(["default"]).find("default") == nil)
    }
}
