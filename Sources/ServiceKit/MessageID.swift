/// The catalog ids of the journal's messages (`journalctl -x`): drawn once, never reused.
public enum MessageID {
    public static let ready = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1101"
    public static let stopped = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1102"
    public static let stopping = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1103"
    public static let reloaded = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1104"
    public static let reloadRefused = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1105"
    public static let linkUp = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1106"
    public static let linkDown = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1107"
    public static let quarantined = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1108"
    public static let recovered = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1109"
    public static let fileBroken = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110a"
    public static let sourceStale = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110b"
    public static let sourceLive = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110c"
    public static let jobEnded = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110d"
    public static let workerStarted = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110e"
    public static let workerExited = "6f0e4b0c1d4c4a7b9a51c0ad0b6a110f"
    public static let portTaken = "6f0e4b0c1d4c4a7b9a51c0ad0b6a1110"
}
