/// Keys of log metadata; the journal shows each as `LEASEHOLD_…`.
public enum LogKey {
    /// The catalog id of a message: 32 hexadecimal digits.
    public static let messageID = "message-id"
    public static let pool = "pool"
    public static let lease = "lease"
    public static let endpoint = "endpoint"
    public static let job = "job"
    public static let reason = "reason"
    public static let tenant = "tenant"

    /// `queue-depth` becomes `LEASEHOLD_QUEUE_DEPTH`.
    static func journalField(_ key: String) -> String {
        "LEASEHOLD_" + String(decoding: key.utf8.map { byte -> UInt8 in
            switch byte {
            case 0x61...0x7a: byte - 32
            case 0x30...0x39, 0x41...0x5a: byte
            default: 0x5f
            }
        }, as: UTF8.self)
    }
}
