import Foundation
import Kubernetes
import Model
import Testing
import Yams

@Suite struct ManifestTests {
    private func manifest(_ text: String, as format: Format = .yaml) throws -> Manifest {
        do {
            switch format {
            case .json: return try JSONDecoder().decode(Manifest.self, from: Data(text.utf8))
            case .yaml: return try YAMLDecoder().decode(Manifest.self, from: text)
            }
        } catch let error as DecodingError {
            throw ManifestError(error)
        }
    }

    @Test(arguments: Format.allCases)
    func aRecordedListIsReadWithoutItsLuggage(format: Format) throws {
        let text = String(decoding: try fixture("endpointslices.list.json"), as: UTF8.self)
        let read = try manifest(text, as: format)
        #expect(read.slices.count == 6)
        #expect(read.slices.map(\.endpoints.count) == [100, 30, 2, 2, 1, 3])
        let first = try #require(read.slices.first)
        #expect(first.key == key("browsers-dvs7w"))
        #expect(first.service == key("browsers"))
        #expect(first.metadata.lastChangeTriggerTime == "2026-11-21T03:31:26Z")
        #expect(first.metadata.resourceVersion == "547")
        #expect(first.ports == [http(8080), EndpointSlice.Port(name: "cdp", number: 9222)])
        #expect(
            first.endpoints[3]
                == EndpointSlice.Endpoint(
                    address: "10.244.3.13", conditions: [], uid: "cd4349a3-08b7-4e56-ada8-89a3cd118fd9", name: "browsers-3", node: "n3",
                    zone: "zone-a"))
        #expect(read.slices[5].ports == [EndpointSlice.Port(name: "", number: 8080)])
    }

    @Test func recordedServicesAreRead() throws {
        let read = try manifest(String(decoding: try fixture("services.list.json"), as: UTF8.self), as: .json)
        #expect(read.services.map(\.key.name) == ["browsers", "manual", "plain"])
        #expect(read.services.map { $0.ports.map(\.name) } == [["http", "cdp"], ["http"], [""]])
        #expect(read.services[0].ports.map(\.number) == [80, 9222])
    }

    @Test(
        arguments: [
            ("{}", [.ready, .serving]),
            ("null", [.ready, .serving]),
            ("{ready: null, serving: null, terminating: null}", [.ready, .serving]),
            ("{ready: true}", [.ready, .serving]),
            ("{ready: false}", [.serving]),
            ("{ready: true, serving: true, terminating: true}", [.ready, .serving, .terminating]),
            ("{ready: false, serving: false, terminating: false}", []),
            ("{terminating: true}", [.ready, .serving, .terminating]),
        ] as [(String, Endpoint.Conditions)])
    func absentConditionsHaveTheDefaultsOfTheAPI(text: String, conditions: Endpoint.Conditions) throws {
        let read = try manifest(
            """
            {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, namespace: shop}, addressType: IPv4,
             endpoints: [{addresses: [10.0.0.1], conditions: \(text)}], ports: []}
            """)
        #expect(read.slices[0].endpoints[0].conditions == conditions)
    }

    @Test func nullListsAndUnknownFieldsAreNothing() throws {
        let read = try manifest(
            """
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: a, labels: null, annotations: {}, managedFields: [{manager: [1, 2]}]}
            addressType: IPv4
            ports: null
            endpoints: null
            whatever: {comes: [next]}
            """)
        #expect(read.slices[0].key == ObjectKey(namespace: "default", name: "a"))
        #expect(read.slices[0].ports.isEmpty && read.slices[0].endpoints.isEmpty && read.slices[0].service == nil)
    }

    @Test func aMixedListIsFlattenedAndOtherKindsAreNamed() throws {
        let read = try manifest(
            """
            apiVersion: v1
            kind: List
            items:
            - {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}
            - {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv6, endpoints: []}
            - {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
            - {apiVersion: v1, kind: ServiceList, items: []}
            """)
        #expect(read.services.map(\.key.name) == ["s"])
        #expect(read.slices.map(\.addressType) == [.ipv6])
        #expect(read.ignored == [Manifest.Ignored(apiVersion: "apps/v1", kind: "Deployment")])
    }

    private static let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"

    /// The same documents are JSON, so that both decoders have to find the same place.
    private static let mistakes: [(text: String, error: String)] = [
        (#"{"kind": "Service"}"#, "apiVersion: is missing"),
        (#"{"apiVersion": "v1"}"#, "kind: is missing"),
        (#"{"apiVersion": "v1", "kind": ["Service"]}"#, "kind: expected text"),
        (#"{"apiVersion": "v1", "kind": "Service"}"#, "metadata: is missing"),
        (#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": ""}}"#, "metadata.name: is empty"),
        (
            #"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}, {"name": "x"}]}}"#,
            "spec.ports[1].port: is missing"
        ),
        (
            #"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": {"port": 80}}}"#,
            "spec.ports: expected a list"
        ),
        (
            #"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 70000}]}}"#,
            "spec.ports[0].port: 70000 is not a port (1…65535)"
        ),
        (
            #"{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": ["b"]}}]}"#,
            "items[1].metadata.name: expected text"
        ),
        (#"{"apiVersion": "v1", "kind": "ServiceList"}"#, "items: is missing"),
        (
            #"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "List", "items": []}]}"#,
            "items[0].kind: is a List inside a List; flatten it"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice"}"#,
            "apiVersion: discovery.k8s.io/v1beta1 left Kubernetes in 1.25; write discovery.k8s.io/v1"
        ),
        (#"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}}"#, "addressType: is missing"),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "ports": [{"port": "http"}]}"#,
            "ports[0].port: expected a whole number"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "ports": [{"port": -1}]}"#,
            "ports[0].port: -1 is not a port (1…65535)"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a", "labels": ["x"]}, "addressType": "IPv4"}"#,
            "metadata.labels: expected a mapping"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": [1]}}, "addressType": "IPv4"}"#,
            #"metadata.labels."kubernetes.io/service-name": expected text"#
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": "10.0.0.1"}]}"#,
            "endpoints[0].addresses: expected a list"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"conditions": {"ready": "maybe"}}]}"#,
            "endpoints[0].conditions.ready: expected true or false"
        ),
        (
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": ["10.0.0.1"]}"#,
            "endpoints[0]: expected a mapping"
        ),
        (#"[]"#, "expected a mapping"),
    ]

    @Test(arguments: Format.allCases, mistakes)
    func aMistakeIsNamedWithItsPlace(format: Format, mistake: (text: String, error: String)) {
        let error = #expect(throws: ManifestError.self) { try manifest(mistake.text, as: format) }
        // YAML's decoder notices that a list is no scalar before it knows which scalar was wanted.
        let expected = format == .yaml ? mistake.error.replacing("expected text", with: "expected a single value") : mistake.error
        #expect(error?.description == expected)
    }

    @Test func anOverlongNameIsAMistake() {
        let text = """
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4",
             "endpoints": [{"nodeName": "\(String(repeating: "n", count: 1025))"}]}
            """
        let error = #expect(throws: ManifestError.self) { try manifest(text, as: .json) }
        #expect(error?.description == "endpoints[0].nodeName: is longer than 1024 bytes")
    }
}
