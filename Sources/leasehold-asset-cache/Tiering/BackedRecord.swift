import AssetCore
import Foundation

/// An object as it travels to and from the store behind: what is written into the fields of its requests, and read from answers.
enum BackedRecord {
    /// Where a version of a profile has what is known of it: base 64 of JSON.
    private static let profileField = "x-amz-meta-leasehold-profile"

    /// The fields of a request that puts it.
    static func fields(_ info: ObjectInfo, etag: String, modified: Timestamp) -> [(String, String)] {
        var fields = info.headers.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        for pair in info.metadata { fields.append(("x-amz-meta-\(pair.name)", pair.value)) }
        if !info.tags.isEmpty {
            let text = info.tags.map { "\(PercentCoding.encode($0.name.utf8))=\(PercentCoding.encode($0.value.utf8))" }
            fields.append(("x-amz-tagging", text.joined(separator: "&")))
        }
        let checksum = info.checksum.map { BackedNote.Checksum(algorithm: $0.algorithm, value: $0.value, type: $0.type) }
        fields.append((BackedNote.field, BackedNote(etag: etag, modified: modified, checksum: checksum).text))
        return fields
    }

    static func fields(_ version: ProfileVersion) -> [(String, String)] {
        [
            ("content-type", "application/octet-stream"),
            (profileField, Base64.encode(Array((try? JSONEncoder().encode(version)) ?? Data()))),
        ]
    }

    /// From the head of an answer. Tags are not in it: `tagCount` says whether there are any. Throws for metadata that no client here may
    /// have.
    static func read(_ answer: Fields, length: Int64, now: Timestamp) throws(S3Error) -> ObjectRecord {
        var fields = answer
        let note = fields[BackedNote.field].flatMap { BackedNote($0) }
        fields.remove(BackedNote.field)
        var info = try ObjectInfo(fields)
        if let checksum = note?.checksum {
            info.checksum = .init(algorithm: checksum.algorithm, value: checksum.value, type: checksum.type)
        }
        let etag = (fields["etag"] ?? "").filter { $0 != "\"" }
        let modified = note?.modified ?? fields["last-modified"].flatMap { Timestamp(httpDate: $0, now: now) } ?? now
        return ObjectRecord(size: length, etag: note?.etag ?? etag, modified: modified, info: info, backing: etag)
    }

    static func tagCount(_ answer: Fields) -> Int { answer["x-amz-tagging-count"].flatMap { Int($0) } ?? 0 }

    /// Nil: what is there is no profile of ours.
    static func profile(_ answer: Fields) -> ProfileVersion? {
        answer[profileField].flatMap { Base64.decode($0) }.flatMap { try? JSONDecoder().decode(ProfileVersion.self, from: Data($0)) }
    }
}
