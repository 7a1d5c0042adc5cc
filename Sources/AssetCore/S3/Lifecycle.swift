/// A bucket's rules for what expires. Transitions, versions and delete markers are not implemented and are refused.
public struct Lifecycle: Hashable, Sendable {
    public var rules: [Rule]

    public struct Rule: Hashable, Sendable {
        public var id: String
        public var isEnabled: Bool
        public var prefix: [UInt8] = []
        /// All of them.
        public var tags: [Tags.Pair] = []
        public var greaterThan: Int64?
        public var lessThan: Int64?
        public var expiration: Expiration?
        /// Days after which an upload that was not completed is aborted.
        public var abortUploadsAfter: Int64?
    }

    public enum Expiration: Hashable, Sendable {
        case days(Int64)
        case date(Timestamp)
    }

    private static let day: Int64 = 86_400

    /// When an object ends: midnight UTC after it is so many days old, or at the rule's date; the earliest of all rules that match.
    public func expiry(key: ObjectKey, size: Int64, tags: Tags, modified: Timestamp) -> (time: Timestamp, rule: String)? {
        var earliest: (time: Timestamp, rule: String)?
        for rule in rules where rule.isEnabled && rule.matches(key, size, tags) {
            let time: Timestamp
            switch rule.expiration {
            case .days(let days): time = modified.advanced(bySeconds: (days + 1) * Self.day).startOfDay
            case .date(let date): time = date
            case nil: continue
            }
            if earliest.map({ time < $0.time }) ?? true { earliest = (time, rule.id) }
        }
        return earliest
    }

    /// When an upload that nobody completes is aborted.
    public func uploadExpiry(key: ObjectKey, initiated: Timestamp) -> Timestamp? {
        rules.filter { $0.isEnabled && key.bytes.starts(with: $0.prefix) && $0.tags.isEmpty }.compactMap(\.abortUploadsAfter).min().map {
            initiated.advanced(bySeconds: ($0 + 1) * Self.day).startOfDay
        }
    }

    // MARK: XML

    public init(xml: [UInt8]) throws(S3Error) {
        let root = try XMLElement.parse(xml)
        guard root.name == "LifecycleConfiguration" else { throw S3Error(.malformedXML) }
        let elements = root.all("Rule")
        guard (1...1000).contains(elements.count) else { throw S3Error(.malformedXML, "A lifecycle configuration has 1 to 1000 rules.") }
        rules = []
        for (i, element) in elements.enumerated() {
            let rule = try Rule(element, number: i + 1)
            guard !rules.contains(where: { $0.id == rule.id }) else {
                throw S3Error(.invalidArgument, "Rule ID must be unique. Found same ID for more than one rule")
            }
            rules.append(rule)
        }
    }

    public func xml() -> [UInt8] {
        var writer = XMLWriter()
        writer.document("LifecycleConfiguration") { writer in
            for rule in rules { writer.element("Rule") { rule.write(to: &$0) } }
        }
        return writer.bytes
    }
}

extension Lifecycle.Rule {
    fileprivate func matches(_ key: ObjectKey, _ size: Int64, _ tags: Tags) -> Bool {
        key.bytes.starts(with: prefix) && self.tags.allSatisfy(tags.pairs.contains) && greaterThan.map { size > $0 } ?? true
            && lessThan.map { size < $0 } ?? true
    }

    fileprivate init(_ element: XMLElement, number: Int) throws(S3Error) {
        for name in ["Transition", "NoncurrentVersionTransition", "NoncurrentVersionExpiration"] where element[name] != nil {
            throw S3Error(.notImplemented, "\(name) is not implemented: objects have one version and one storage class.")
        }
        id = element["ID"]?.text ?? "rule-\(number)"
        guard id.utf8.count <= 255 else { throw S3Error(.invalidArgument, "ID length should not exceed allowed limit of 255") }
        switch element["Status"]?.text {
        case "Enabled": isEnabled = true
        case "Disabled": isEnabled = false
        default: throw S3Error(.malformedXML)
        }
        if let old = element["Prefix"] { prefix = Array(old.text.utf8) }
        if let filter = element["Filter"] {
            guard filter.children.count <= 1 else { throw S3Error(.malformedXML) }
            try read(filter["And"] ?? filter)
        }
        if let expiration = element["Expiration"] { self.expiration = try Self.expiration(expiration) }
        if let abort = element["AbortIncompleteMultipartUpload"] {
            abortUploadsAfter = try Self.days(abort["DaysAfterInitiation"])
        }
        guard expiration != nil || abortUploadsAfter != nil else {
            throw S3Error(.invalidRequest, "At least one action needs to be specified in a rule.")
        }
    }

    private mutating func read(_ filter: XMLElement) throws(S3Error) {
        if let prefix = filter["Prefix"] { self.prefix = Array(prefix.text.utf8) }
        for tag in filter.all("Tag") {
            guard let key = tag["Key"]?.text, let value = tag["Value"]?.text else { throw S3Error(.malformedXML) }
            tags.append(Tags.Pair(key: key, value: value))
        }
        if let text = filter["ObjectSizeGreaterThan"]?.text {
            guard let size = decimal(text) else { throw S3Error(.malformedXML) }
            greaterThan = size
        }
        if let text = filter["ObjectSizeLessThan"]?.text {
            guard let size = decimal(text) else { throw S3Error(.malformedXML) }
            lessThan = size
        }
    }

    private static func days(_ element: XMLElement?) throws(S3Error) -> Int64 {
        guard let text = element?.text, let days = decimal(text) else { throw S3Error(.malformedXML) }
        guard (1...36_500).contains(days) else { throw S3Error(.invalidArgument, "Days must be a positive integer, at most 36500.") }
        return days
    }

    private static func expiration(_ element: XMLElement) throws(S3Error) -> Lifecycle.Expiration {
        if element["ExpiredObjectDeleteMarker"] != nil { throw S3Error(.notImplemented, "Delete markers are not implemented.") }
        switch (element["Days"], element["Date"]) {
        case (let days?, nil): return .days(try Self.days(days))
        case (nil, let date?):
            guard let time = Timestamp(iso8601: date.text), time == time.startOfDay else {
                throw S3Error(.invalidArgument, "'Date' must be at midnight GMT")
            }
            return .date(time)
        case (nil, nil), (.some, .some): throw S3Error(.malformedXML)
        }
    }

    fileprivate func write(to writer: inout XMLWriter) {
        writer.element("ID", id)
        writer.element("Status", isEnabled ? "Enabled" : "Disabled")
        writer.element("Filter") { writer in
            let count = tags.count + (prefix.isEmpty ? 0 : 1) + (greaterThan == nil ? 0 : 1) + (lessThan == nil ? 0 : 1)
            if count > 1 { writer.element("And") { writeFilter(to: &$0) } } else { writeFilter(to: &writer) }
        }
        switch expiration {
        case .days(let days): writer.element("Expiration") { $0.element("Days", String(days)) }
        case .date(let date): writer.element("Expiration") { $0.element("Date", date.iso8601) }
        case nil: break
        }
        if let abortUploadsAfter {
            writer.element("AbortIncompleteMultipartUpload") { $0.element("DaysAfterInitiation", String(abortUploadsAfter)) }
        }
    }

    private func writeFilter(to writer: inout XMLWriter) {
        if !prefix.isEmpty || (tags.isEmpty && greaterThan == nil && lessThan == nil) { writer.element("Prefix", prefix) }
        for tag in tags {
            writer.element("Tag") { writer in
                writer.element("Key", tag.key)
                writer.element("Value", tag.value)
            }
        }
        if let greaterThan { writer.element("ObjectSizeGreaterThan", String(greaterThan)) }
        if let lessThan { writer.element("ObjectSizeLessThan", String(lessThan)) }
    }
}
