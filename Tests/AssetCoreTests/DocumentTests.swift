import AssetCore
import TestKit
import Testing

@Suite struct DocumentTests {
    @Test(arguments: [
        ("<a/>", "a"), ("<?xml version='1.0'?>\n<a>x</a>\n", "a=x"), ("<a xmlns=\"u\" b='c'>x<b>y</b>z</a>", "a=xz(b=y)"),
        ("<n:a>&lt;&amp;&#65;&#x42;</n:a>", "a=<&AB"),
        ("<a><![CDATA[<&]]></a>", "a=<&"), ("<!-- c --><a><!-- d -->x</a>", "a=x"), ("<a><b/><b>1</b></a>", "a(b,b=1)"),
        ("\u{feff}<a/>", "a"),
    ]) func aDocumentIsRead(text: String, expected: String) throws {
        func show(_ element: XMLElement) -> String {
            element.name + (element.text.isEmpty ? "" : "=\(element.text)")
                + (element.children.isEmpty ? "" : "(\(element.children.map(show).joined(separator: ",")))")
        }
        #expect(show(try XMLElement.parse(Array(text.utf8))) == expected)
    }

    @Test(arguments: [
        "", "x", "<a>", "<a></b>", "<a/><b/>", "<a b></a>", "<a b=c/>", "<a>&x;</a>", "<a>&amp</a>", "<a>&#xd800;</a>", "<!DOCTYPE a><a/>",
        "<a><!ENTITY x 'y'></a>", "<a", "<a b='", "<a><![CDATA[", "<a><!--", "<>", "</a>", "<a>&#99999999999;</a>",
        String(repeating: "<a>", count: 100),
    ]) func whatIsNoDocumentIsRefused(text: String) {
        #expect(throws: S3Error(.malformedXML)) { try XMLElement.parse(Array(text.utf8)) }
    }

    @Test func mutatedDocumentsNeverTrap() {
        let seed = UInt64.random(in: 1 ... .max)
        var draw = SeededGenerator(seed: seed)
        let text = Array("<?xml version='1.0'?><a b='c'><!-- x --><d>&lt;&#x41;</d><![CDATA[y]]><e/></a>".utf8)
        for _ in 0..<10_000 {
            var bytes = text
            for _ in 0..<Int.random(in: 1...3, using: &draw) {
                let at = Int.random(in: bytes.indices, using: &draw)
                if Bool.random(using: &draw) { bytes[at] = text.randomElement(using: &draw) ?? 0 } else { bytes.remove(at: at) }
            }
            // Whether it is refused is another test's affair.
            _ = try? XMLElement.parse(bytes)
            _ = try? Lifecycle(xml: bytes)
            _ = try? Tags(xml: bytes)
        }
    }

    @Test func whatIsWrittenIsReadTheSame() throws {
        var writer = XMLWriter()
        let text = "<&>\"'\n\u{1} ü"
        writer.document("a") { $0.element("b", text) }
        #expect(try XMLElement.parse(writer.bytes)["b"]?.text == text)
    }

    @Test func tagsKeepTheirOrderAndLimits() throws {
        let tags = try Tags(field: "a=1&b=x%20y&c")
        #expect(tags.pairs.map(\.key) == ["a", "b", "c"] && tags.pairs[1].value == "x y")
        #expect(try Tags(xml: tags.xml()) == tags)
        #expect(throws: S3Error.self) { try Tags(field: "a=1&a=2") }
        #expect(throws: S3Error.self) { try Tags(field: (0..<11).map { "\($0)=" }.joined(separator: "&")) }
        #expect(throws: S3Error.self) { try Tags(field: "%") }
    }

    private func lifecycle(_ rule: String) throws -> Lifecycle {
        try Lifecycle(
            xml: Array("<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status>\(rule)</Rule></LifecycleConfiguration>".utf8))
    }

    @Test func anObjectEndsAtMidnightAfterItsDays() throws {
        let rules = try lifecycle("<Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>2</Days></Expiration>")
        let modified = try #require(Timestamp(basic: "20261121T081341Z"))
        let key = ObjectKey(unchecked: Array("tmp/a".utf8))
        #expect(rules.expiry(key: key, size: 1, tags: Tags(), modified: modified)?.time.basic == "20261124T000000Z")
        #expect(rules.expiry(key: ObjectKey(unchecked: Array("other".utf8)), size: 1, tags: Tags(), modified: modified) == nil)
        #expect(try Lifecycle(xml: rules.xml()) == rules)
    }

    @Test func aFilterHasAllItsConditions() throws {
        let rules = try lifecycle(
            "<Filter><And><Prefix>a</Prefix><Tag><Key>t</Key><Value>1</Value></Tag><ObjectSizeGreaterThan>10</ObjectSizeGreaterThan><ObjectSizeLessThan>20</ObjectSizeLessThan></And></Filter><Expiration><Date>2020-01-01</Date></Expiration>"
        )
        func applies(_ key: String, _ size: Int64, _ tags: String) throws -> Bool {
            rules.expiry(
                key: ObjectKey(unchecked: Array(key.utf8)), size: size, tags: try Tags(field: tags), modified: Timestamp(seconds: 0)) != nil
        }
        #expect(try applies("ab", 15, "t=1"))
        for (key, size, tags) in [("b", 15, "t=1"), ("ab", 10, "t=1"), ("ab", 20, "t=1"), ("ab", 15, "t=2"), ("ab", 15, "")] {
            #expect(try !applies(key, Int64(size), tags))
        }
        #expect(try Lifecycle(xml: rules.xml()) == rules)
    }

    @Test(arguments: [
        ("", S3Error.Code.invalidRequest), ("<Expiration/>", .malformedXML), ("<Expiration><Days>0</Days></Expiration>", .invalidArgument),
        ("<Expiration><Days>x</Days></Expiration>", .malformedXML),
        ("<Expiration><Date>2020-01-01T01:00:00Z</Date></Expiration>", .invalidArgument),
        ("<Transition/>", .notImplemented),
        ("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", .notImplemented),
        ("<NoncurrentVersionExpiration/>", .notImplemented),
    ]) func aRuleThatCannotBeIsRefused(rule: String, code: S3Error.Code) {
        #expect { try lifecycle(rule) } throws: { ($0 as? S3Error)?.code == code }
    }
}
