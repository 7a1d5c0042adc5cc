import AssetCore

/// Status, headers and bytes of an answer to a read.
struct ReadAnswer: Sendable {
    let status: Int
    let headers: [(String, String)]
    /// Of the object.
    let range: Range<Int64>

    init(_ object: ObjectRecord, _ request: Request) throws(S3Error) {
        var headers = [
            ("ETag", "\"\(object.etag)\""), ("Last-Modified", object.modified.httpDate), ("Accept-Ranges", "bytes"),
        ]
        var content = object.info.headers
        for (parameter, name) in Self.overrides {
            guard let value = request.target[parameter] else { continue }
            guard request.caller.signature != nil else {
                throw S3Error(.invalidRequest, "Request specific response headers cannot be used for anonymous GET requests.")
            }
            guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw S3Error(.invalidArgument) }
            content[name] = value
        }
        headers.append(("Content-Type", content.removeValue(forKey: "content-type") ?? "binary/octet-stream"))
        for (name, value) in content.sorted(by: { $0.key < $1.key }) { headers.append((name, value)) }
        for pair in object.info.metadata { headers.append(("x-amz-meta-\(pair.name)", pair.value)) }
        if !object.info.tags.isEmpty { headers.append(("x-amz-tagging-count", String(object.info.tags.count))) }
        var status = 200
        var range: Range<Int64> = 0..<object.size
        if let text = request.target["partNumber"] {
            guard !request.fields.contains("range") else {
                throw S3Error(.invalidRequest, "Cannot specify both Range header and partNumber query parameter")
            }
            let count = object.info.isMultipart ? max(1, object.segments.count) : 1
            guard let number = Int(text), (1...count).contains(number) else { throw S3Error(.invalidPartNumber) }
            if object.info.isMultipart {
                let start = object.segments.prefix(number - 1).reduce(Int64(0)) { $0 + $1.size }
                range = start..<(start + (object.segments.isEmpty ? 0 : object.segments[number - 1].size))
                headers.append(("x-amz-mp-parts-count", String(count)))
            }
            status = 206
        } else if rangeApplies(
            ifRange: request.fields["if-range"], etag: object.etag, modified: object.modified, now: request.now)
        {
            switch ByteRange(request.fields["range"], size: object.size) {
            case .whole: break
            case .part(let part): (status, range) = (206, part)
            case .unsatisfiable: throw S3Error(.invalidRange)
            }
        }
        if status == 206, !range.isEmpty {
            headers.append(("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(object.size)"))
        }
        if request.fields["x-amz-checksum-mode"]?.uppercased() == "ENABLED", status == 200, let checksum = object.info.checksum,
            let algorithm = ChecksumAlgorithm(name: checksum.algorithm)
        {
            headers.append((algorithm.field, checksum.value))
            headers.append(("x-amz-checksum-type", checksum.type))
        }
        self.status = status
        self.headers = headers
        self.range = range
    }

    private static let overrides = [
        ("response-content-type", "content-type"), ("response-content-language", "content-language"), ("response-expires", "expires"),
        ("response-cache-control", "cache-control"), ("response-content-disposition", "content-disposition"),
        ("response-content-encoding", "content-encoding"),
    ]
}

extension ObjectInfo {
    /// From the fields of a request that makes an object.
    init(_ fields: Fields) throws(S3Error) {
        self.init()
        for name in ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "expires"] {
            guard var value = fields[name] else { continue }
            if name == "content-encoding" {
                // How it came is not how it is.
                value = value.split(separator: ",").map { $0.filter { $0 != " " } }.filter { $0 != "aws-chunked" }.joined(separator: ",")
                if value.isEmpty { continue }
            }
            headers[name] = value
        }
        var size = 0
        for field in fields.all where field.name.hasPrefix("x-amz-meta-") {
            let name = String(field.name.dropFirst(11))
            guard !name.isEmpty else { throw S3Error(.invalidArgument, "A name of user metadata is empty.") }
            if let index = metadata.firstIndex(where: { $0.name == name }) {
                metadata[index].value += ",\(field.value)"
            } else {
                metadata.append(Pair(name: name, value: field.value))
            }
            size += name.utf8.count + field.value.utf8.count
        }
        guard size <= 2048 else { throw S3Error(.metadataTooLarge) }
        if let tagging = fields["x-amz-tagging"] { set(try Tags(field: tagging)) }
    }
}
