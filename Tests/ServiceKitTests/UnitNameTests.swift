import Testing

@testable import Systemd

/// Expected names are systemd-escape's (252).
@Suite struct UnitNameTests {
    @Test(arguments: [
        ("browsers/21000", #"leasehold-worker@browsers-21000.service"#),
        ("my-pool/21000", #"leasehold-worker@my\x2dpool-21000.service"#),
        ("a_b.c:d/1", #"leasehold-worker@a_b.c:d-1.service"#),
        (".hidden/1", #"leasehold-worker@\x2ehidden-1.service"#),
        ("käse\\/1", #"leasehold-worker@k\xc3\xa4se\x5c-1.service"#),
    ])
    func aPlaceHasOneUnit(_ instance: String, _ unit: String) {
        #expect(UnitName.service("leasehold-worker", instance: instance) == unit)
        #expect(UnitName.instance(of: unit, template: "leasehold-worker") == instance)
    }

    @Test(arguments: [#"leasehold-worker@\x2.service"#, #"leasehold-worker@\xzz.service"#, #"leasehold-worker@\xff.service"#, "dbus.service", "leasehold-worker@x"])
    func whatNobodyEscapedHasNoInstance(_ unit: String) {
        #expect(UnitName.instance(of: unit, template: "leasehold-worker") == nil)
    }

    @Test func theBusShowsAUnitAtItsPath() {
        #expect(
            UnitName.objectPath(#"leasehold-worker@my\x2dpool-21000.service"#)
                == "/org/freedesktop/systemd1/unit/leasehold_2dworker_40my_5cx2dpool_2d21000_2eservice")
    }
}
