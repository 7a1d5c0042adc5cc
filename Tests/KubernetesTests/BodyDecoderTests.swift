import Foundation
import TestKit
import Testing

@testable import Kubernetes

/// Bodies of a real API server, read in one piece and in every other way.
@Suite struct BodyDecoderTests {
    /// A recording, what it is an answer to, and how many things are in it.
    struct Recording: Sendable, CustomTestStringConvertible {
        var file: String
        var form: BodyDecoder.Form
        var resource: WatchScope.Resource = .endpointSlices
        var contentType = "application/json"
        var count: Int
        var testDescription: String { file }
    }

    static let recordings = [
        Recording(file: "endpointslices.list.json", form: .list, count: 7),
        Recording(file: "endpointslices.page1.json", form: .list, count: 3),
        Recording(file: "endpointslices.page2.json", form: .list, count: 3),
        Recording(file: "endpointslices.list.pb", form: .list, contentType: "application/vnd.kubernetes.protobuf", count: 5),
        Recording(file: "services.list.json", form: .list, resource: .services, count: 4),
        Recording(file: "endpointslices.watch.jsonl", form: .watch, count: 14),
        Recording(file: "endpointslices.watchlist.jsonl", form: .watch, count: 21),
        Recording(file: "services.watchlist.jsonl", form: .watch, resource: .services, count: 8),
        Recording(file: "endpointslices.watch.expired.jsonl", form: .watch, count: 1),
    ]

    /// What pieces of a body say, one line each, so that two readings can be compared.
    static func read(_ pieces: some Sequence<some Collection<UInt8>>, _ recording: Recording) throws -> [String] {
        var decoder = BodyDecoder(recording.form, recording.resource, contentType: recording.contentType)
        var strings = StringTable()
        var decoded: [Decoded] = []
        for piece in pieces { try decoder.feed(Array(piece), &strings, &decoded) }
        try #require(decoder.isAtEnd)
        return decoded.map { "\($0)" }
    }

    static func bytes(_ recording: Recording) throws -> [UInt8] { [UInt8](try fixture(recording.file)) }

    @Test(arguments: recordings) func aBodyReadsTheSameByteByByteAsWhole(_ recording: Recording) throws {
        let bytes = try Self.bytes(recording)
        let whole = try Self.read([bytes], recording)
        #expect(whole.count == recording.count)
        #expect(try Self.read(bytes.map { [$0] }, recording) == whole)
    }

    /// In two pieces: every pair of small recordings, a sample of large ones; byte by byte has every place anyway.
    @Test(arguments: recordings) func aBodyReadsTheSameWhereverItIsCut(_ recording: Recording) throws {
        let bytes = try Self.bytes(recording)
        let whole = try Self.read([bytes], recording)
        for cut in stride(from: 1, to: bytes.count, by: max(1, bytes.count / 300)) {
            #expect(try Self.read([bytes[..<cut], bytes[cut...]], recording) == whole, "cut at \(cut)")
        }
    }

    /// In pieces of any size, so that lines are torn, merged and split as a network does it.
    @Test(arguments: recordings) func aBodyReadsTheSameInAnyPieces(_ recording: Recording) throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("aBodyReadsTheSameInAnyPieces \(recording.file): seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let bytes = try Self.bytes(recording)
        let whole = try Self.read([bytes], recording)
        for most in [3, 60, 1500, 20_000] {
            var pieces: [ArraySlice<UInt8>] = []
            while case let start = pieces.last?.endIndex ?? 0, start < bytes.count {
                pieces.append(bytes[start..<min(bytes.count, start + Int.random(in: 0...most, using: &random))])
            }
            #expect(try Self.read(pieces, recording) == whole, "pieces of up to \(most)")
        }
    }

    /// Lines are for people: documents may stand in one line, or one in many.
    @Test func linesDoNotMatter() throws {
        for recording in Self.recordings where recording.form == .watch {
            let bytes = try Self.bytes(recording)
            let whole = try Self.read([bytes], recording)
            #expect(try Self.read([bytes.filter { $0 != 10 }], recording) == whole)
            let documents = try bytes.split(separator: 10).map { try JSONSerialization.jsonObject(with: Data($0)) }
            let pretty = try documents.map { [UInt8](try JSONSerialization.data(withJSONObject: $0, options: [.prettyPrinted])) }
            #expect(try Self.read(pretty, recording) == whole)
        }
    }

    /// The watch in protobuf was not recorded: what is written by the schema reads as the same thing in JSON does, however it is cut.
    @Test func aWatchInProtobufSaysWhatOneInJSONSays() throws {
        var lists = BodyDecoder(.list, .endpointSlices, contentType: "application/json")
        var (strings, decoded) = (StringTable(), [Decoded]())
        try lists.feed([UInt8](fixture("endpointslices.list.json")), &strings, &decoded)
        let slices = decoded.compactMap { if case .item(.slice(let slice)) = $0 { slice } else { nil } }
        func body(_ encoding: KubernetesEncoding) -> [UInt8] {
            var body = slices.flatMap { encoding.event("ADDED", $0) } + encoding.bookmark(651, endsInitialEvents: true)
            body += slices.flatMap { encoding.event("DELETED", $0) } + encoding.bookmark(652, endsInitialEvents: false)
            return body + encoding.error(410, "Expired", "too old") + encoding.event("RENAMED", slices[0])
        }
        let recording = Recording(file: "", form: .watch, contentType: "application/vnd.kubernetes.protobuf;stream=watch", count: 0)
        let protobuf = body(.protobuf)
        let whole = try Self.read([protobuf], recording)
        #expect(try Self.read([body(.json)], Recording(file: "", form: .watch, count: 0)) == whole && whole.count == slices.count * 2 + 4)
        #expect(try Self.read(protobuf.map { [$0] }, recording) == whole)
        for form in KubernetesEncoding.allCases {
            let list = Recording(file: "", form: .list, contentType: form.contentType(isWatch: false), count: 0)
            let read = try Self.read([form.list(slices, version: 651, next: "token")], list)
            #expect(read.count == slices.count + 1 && read[0].contains("token") && read[1] == "\(decoded[1])")
        }
    }

    /// Torn off anywhere, a body gives what came before, never something else, and knows that it was torn.
    @Test(arguments: recordings) func aTornBodyGivesWhatWasWhole(_ recording: Recording) throws {
        let bytes = try Self.bytes(recording)
        let whole = try Self.read([bytes], recording)
        for cut in stride(from: 1, to: bytes.count, by: max(1, bytes.count / 200)) {
            var decoder = BodyDecoder(recording.form, recording.resource, contentType: recording.contentType)
            var (strings, decoded) = (StringTable(), [Decoded]())
            try decoder.feed(Array(bytes[..<cut]), &strings, &decoded)
            #expect(decoded.map { "\($0)" } == Array(whole.prefix(decoded.count)))
            if recording.form == .list, decoder.isAtEnd { #expect(decoded.count == whole.count) }
        }
    }

    @Test func jsonObjectsAreReadAsManifestsAre() throws {
        let manifest = try JSONDecoder().decode(Manifest.self, from: fixture("endpointslices.list.json"))
        var decoder = BodyDecoder(.list, .endpointSlices, contentType: "application/json")
        var (strings, decoded) = (StringTable(), [Decoded]())
        try decoder.feed([UInt8](fixture("endpointslices.list.json")), &strings, &decoded)
        let slices = decoded.compactMap { if case .item(.slice(let slice)) = $0 { slice } else { nil } }
        #expect(slices == manifest.slices && slices.count == 6)
        guard case .listMetadata(let metadata) = decoded[0] else { throw Unexpected() }
        #expect(metadata == ListMetadata(resourceVersion: "651"))

        let services = try JSONDecoder().decode(Manifest.self, from: fixture("services.list.json")).services
        decoder = BodyDecoder(.list, .services, contentType: "application/json")
        decoded = []
        try decoder.feed([UInt8](fixture("services.list.json")), &strings, &decoded)
        #expect(decoded.compactMap { if case .item(.service(let service)) = $0 { service } else { nil } } == services)
    }

    /// The list in protobuf was recorded after the watch: it is what the watch ended with.
    @Test func protobufSaysWhatJSONSays() throws {
        var state: [ObjectKey: WatchedObject] = [:]
        var (strings, decoded) = (StringTable(), [Decoded]())
        var watch = BodyDecoder(.watch, .endpointSlices, contentType: "application/json")
        try watch.feed([UInt8](fixture("endpointslices.watchlist.jsonl")), &strings, &decoded)
        for case .event(let type, let object) in decoded { state[object.key] = type == .deleted ? nil : object }

        decoded = []
        var list = BodyDecoder(.list, .endpointSlices, contentType: "application/vnd.kubernetes.protobuf")
        try list.feed([UInt8](fixture("endpointslices.list.pb")), &strings, &decoded)
        for case .item(let object) in decoded {
            #expect(state.removeValue(forKey: object.key) == object)
        }
        #expect(state.isEmpty)
    }

    @Test func refusalsAreUnderstood() throws {
        var decoder = BodyDecoder(.status, .endpointSlices, contentType: "application/json")
        var (strings, decoded) = (StringTable(), [Decoded]())
        try decoder.feed([UInt8](fixture("endpointslices.too-large-resource-version.json")), &strings, &decoded)
        let status = try #require(decoder.status)
        #expect(status.isTooLargeResourceVersion && status.code == 504 && status.retryAfter == .seconds(1) && !status.isExpired)

        var watch = BodyDecoder(.watch, .endpointSlices, contentType: "application/json;stream=watch")
        try watch.feed([UInt8](fixture("endpointslices.watch.expired.jsonl")), &strings, &decoded)
        guard case .error(let expired) = decoded.first else { throw Unexpected() }
        #expect(expired.isExpired && expired.message == "too old resource version: 1 (722)")
    }

    static let oddities: [(String, String)] = [
        (#"{"type":"RENAMED","object":{"kind":"EndpointSlice"}}"#, #"unknownEvent("RENAMED")"#),
        // The object before its type, escapes, an emoji in two halves, and fields that nobody knows.
        (
            #"{"object":{"spec":[[{"a":"]}\\\""}],1e9,null],"metadata":{"name":"a\u002db\ud83d\ude00"},"addressType":"IPv4","ports":null},"type":"DELETED"}"#,
            "a-b😀"
        ),
        (#"{"type":"ADDED","object":{"metadata":{"name":"x"},"addressType":"IPv4","ports":[{"port":70000}]}}"#, "unreadable"),
        (#"{"type":"ADDED","object":{"metadata":{}}}"#, "an object without a name"),
        (#"{"type":"ADDED","object":null}"#, "an object that is null"),
        (#"{"type":"ADDED","object":{"metadata":{"name":"x"},"endpoints":[{"addresses":[]},null]}}"#, "address: nil"),
    ]

    @Test(arguments: oddities) func oddEventsDoNotEndAWatch(_ line: String, _ expected: String) throws {
        let recording = Recording(file: "", form: .watch, count: 1)
        let bookmark = #"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#
        // Merged into one line with what follows, too.
        for separator in ["\n", "", "\r\n  "] {
            let said = try Self.read([Array((line + separator + bookmark).utf8)], recording)
            #expect(said.count == 2 && said[0].contains(expected) && said[1].contains("bookmark"), "\(said)")
        }
    }

    static let nonsense = ["<html>busy</html>", "\"text\"", "}", "{\"type\":\"BOOKMARK\",\"object\":{}}", "{\"type\":3}", "{}"]

    @Test(arguments: nonsense) func whatIsNoWatchIsRefused(_ text: String) {
        var decoder = BodyDecoder(.watch, .endpointSlices, contentType: "application/json")
        var (strings, decoded) = (StringTable(), [Decoded]())
        #expect(throws: DecodingProblem.self) { try decoder.feed(Array(text.utf8), &strings, &decoded) }
    }

    @Test func anObjectWithoutAnEndIsRefusedAtItsBound() throws {
        var decoder = BodyDecoder(.watch, .endpointSlices, contentType: "application/json")
        var (strings, decoded) = (StringTable(), [Decoded]())
        let start = Array(#"{"type":"ADDED","object":{"metadata":{"name":""#.utf8)
        try decoder.feed(start, &strings, &decoded)
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        #expect(throws: DecodingProblem.self) {
            for _ in 0..<17 { try decoder.feed(piece, &strings, &decoded) }
        }
        var protobuf = BodyDecoder(.watch, .endpointSlices, contentType: "application/vnd.kubernetes.protobuf;stream=watch")
        #expect(throws: DecodingProblem.self) { try protobuf.feed([0x7F, 0xFF, 0xFF, 0xFF], &strings, &decoded) }
    }

    /// Bytes exchanged, removed and inserted: whatever it says then, it says without trapping, however it is cut.
    @Test(arguments: recordings) func mutatedBodiesNeverTrap(_ recording: Recording) throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("mutatedBodiesNeverTrap \(recording.file): seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let bytes = try Array(Self.bytes(recording).prefix(20_000))
        for _ in 0..<300 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let place = Int.random(in: 0..<mutated.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: mutated[place] = UInt8.random(in: 0...255, using: &random)
                case 1: mutated.remove(at: place)
                case _: mutated.insert(Array("{}[]\",:\\0".utf8).randomElement(using: &random) ?? 0, at: place)
                }
            }
            var decoder = BodyDecoder(recording.form, recording.resource, contentType: recording.contentType)
            var (strings, decoded) = (StringTable(), [Decoded]())
            let cut = Int.random(in: 0...mutated.count, using: &random)
            let pieces = [Array(mutated[..<cut]), Array(mutated[cut...])]
            _ = try? pieces.forEach { try decoder.feed($0, &strings, &decoded) }
        }
    }

    private struct Unexpected: Error {}
}
