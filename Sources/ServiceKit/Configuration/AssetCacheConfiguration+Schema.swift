import Model
import Yams

extension AssetCacheConfiguration {
    static let schema = Section(initial: AssetCacheConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: .restart,
            "Where the S3 API is served; under systemd the socket unit's FileDescriptorName=asset-cache.")
        keys.value("directory", \.directory, .path(), traits: .restart, "Blobs and their index; one process for each directory.")
        keys.value(
            "size", \.size, .size((16 << 20)...(1 << 50)), traits: .restart,
            "Most bytes of objects and parts on disk; beyond it, objects of buckets that are not pinned are evicted.")
        keys.value(
            "names", \.names, .list(of: .hostName),
            "Host names that are ours, beside the address itself; BUCKET.NAME is virtual-host style.")
        keys.sections(
            "keys", \.keys, AccessKeyConfiguration.schema, start: { _ in AccessKeyConfiguration() }, label: { $0.accessKey },
            "The keys of S3's clients; without any, only anonymous callers are served.")
        keys.value(
            "anonymous", \.anonymous, .bucketRight,
            "What callers from loopback may do without a key; browsers on this machine are such callers, too.")
        keys.value(
            "pinned", \.pinned, .list(of: .name), traits: .restart,
            "Buckets whose objects are never evicted; when only they are left, writes get 507.")
        keys.value(
            "verify-reads", \.verifyReads, .flag, "Whether a blob is compared with its SHA-256 before its first byte is served.")
        keys.value("scrub", \.scrub, .deadline, traits: .restart, "From one comparison of every blob with its SHA-256 to the next.")
        keys.value(
            "drain", \.drain, .duration(atLeast: .zero, atMost: .seconds(3_600)), "From SIGTERM to the end of requests that still run.")
        keys.refused("reverse", remedy: "use it as an S3 store; the HTTP cache is not part of this version")
        keys.refused("fetch", remedy: "use it as an S3 store; the HTTP cache is not part of this version")
        keys.refused("backing", remedy: "use it without a store behind it; tiering is not part of this version")
    }
}

extension AccessKeyConfiguration {
    static let schema = Section(initial: AccessKeyConfiguration()) { keys in
        keys.value("access-key", \.accessKey, .accessKey, traits: .required, example: "demo", "The key's public name.")
        keys.optional("secret", \.secret, .secret, absent: "", "The secret itself: for tests, because others read this file.")
        keys.optional(
            "secret-file", \.secretFile, .path(), absent: "", "A file that holds the secret; a line break at its end does not count.")
        keys.value(
            "buckets", \.buckets, .grants, traits: .required, example: "{ \"*\": read-write }",
            "What the key may do: a bucket's name, or the beginning of one and \"*\", with none, read, write or read-write; the most exact counts."
        )
    }
}

extension AssetCacheConfiguration {
    /// What no single key can know.
    func check(_ reading: inout ConfigurationReading) {
        var seen: Set<String> = []
        for (i, key) in keys.enumerated() {
            let path = "asset-cache.keys[\(i)]"
            if !key.accessKey.isEmpty, !seen.insert(key.accessKey).inserted {
                reading.complain(about: "\(path).access-key", "is there already", remedy: "give each key its own name")
            }
            switch (key.secret, key.secretFile) {
            case (nil, nil) where !key.accessKey.isEmpty && !reading.isGiven("\(path).secret") && !reading.isGiven("\(path).secret-file"):
                reading.complain(about: path, "has no secret", remedy: "add secret-file: PATH")
            case (.some, .some):
                reading.complain(about: "\(path).secret", "stands beside secret-file", remedy: "keep one of the two")
            case (nil, nil), (.some, nil), (nil, .some): break
            }
        }
        if anonymous != .none, !address.isLoopback {
            reading.complain(
                about: "asset-cache.anonymous", "is for an address on loopback, and \(address) is none",
                remedy: "write anonymous: none, or address: 127.0.0.1:9900")
        }
    }
}

extension ListenAddress {
    /// 127.0.0.0/8, ::1, or a Unix socket.
    var isLoopback: Bool {
        switch self {
        case .unix: true
        case .ip(let address): IPNetwork.loopback.contains { $0.contains(address) }
        }
    }
}

extension IPNetwork {
    fileprivate static let loopback = ["127.0.0.0/8", "::1/128"].compactMap { IPNetwork($0) }
}

extension ValueType where Value == BucketRight {
    static var bucketRight: ValueType {
        .choice([("none", .none), ("read", .read), ("write", .write), ("read-write", .readWrite)])
    }
}

extension ValueType where Value == String {
    /// Printable ASCII of 1 to 128 bytes, none of which means something in a credential.
    static var accessKey: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && !",=/;".utf8.contains($0) })
                else {
                    throw Complaint("\(quoted(text)) is not an access key", remedy: "use up to 128 letters, digits and signs but , = / ;")
                }
                return text
            },
            render: { .text($0) })
    }

    /// Never shown in a message.
    static var secret: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard (8...256).contains(text.utf8.count), !text.utf8.contains(where: { $0 < 0x21 || $0 == 0x7f }) else {
                    throw Complaint("the secret is not one", remedy: "use 8 to 256 characters without spaces")
                }
                return text
            },
            render: { .text($0) })
    }

    static var hostName: ValueType {
        .scalar(
            "host name",
            parse: { (text, _) throws(Complaint) in
                let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
                let isValid =
                    text.utf8.count <= 253
                    && labels.allSatisfy { label in
                        (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                            && label.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
                    }
                guard isValid else {
                    throw Complaint("\(quoted(text)) is not a host name", remedy: "write it like assets.example.org, without port")
                }
                return text.lowercased()
            },
            render: { .text($0) })
    }
}

extension ValueType where Value == [BucketGrant] {
    /// `{ "*": read-write, shared: read }`
    static var grants: ValueType {
        ValueType(
            name: "bucket: right",
            read: { node, key, reading in
                guard case .mapping(let mapping) = node else {
                    reading.complain(
                        at: node.mark, key,
                        Complaint(
                            "expected buckets with rights, found \(node.isAbsent ? "nothing" : node.kindName)",
                            remedy: "write { \"*\": read-write }"))
                    return nil
                }
                var grants: [BucketGrant] = []
                for (name, value) in mapping {
                    guard case .scalar(let pattern) = name, isPattern(pattern.string) else {
                        reading.complain(
                            at: name.mark, key,
                            Complaint("a key is no bucket's name", remedy: "write a name, or the beginning of one and *"))
                        continue
                    }
                    let path = "\(key).\(pattern.string)"
                    reading.marks[path] = value.mark
                    if let right = ValueType<BucketRight>.bucketRight.read(value, path, &reading) {
                        grants.append(BucketGrant(pattern: pattern.string, right: right))
                    }
                }
                return grants
            },
            render: { grants in
                .mapping(
                    grants.map { ConfigurationValue.Entry(key: $0.pattern, value: ValueType<BucketRight>.bucketRight.render($0.right)) })
            })
    }

    private static func isPattern(_ text: String) -> Bool {
        let name = text.hasSuffix("*") ? text.dropLast() : text[...]
        return text.utf8.count <= 64 && (!name.isEmpty || text == "*")
            && name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e }
    }
}
