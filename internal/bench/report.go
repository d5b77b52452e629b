package bench

import (
	"math"
	"time"
)

// This file owns what was measured, as programs read it.

// Report is all that a run measured.
type Report struct {
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Quick   bool      `json:"quick"` // too short to be quoted
	Machine Machine   `json:"machine"`
	Runs    []Result  `json:"runs,omitempty"`
	Streams []Streams `json:"streams,omitempty"`
	Starts  []Start   `json:"starts,omitempty"`
	Growth  []Growth  `json:"growth,omitempty"`

	Retention []Retention `json:"retention,omitempty"`
}

// Result is one scenario on one database.
type Result struct {
	Store     string  `json:"store"`
	Scenario  string  `json:"scenario"`
	Unit      string  `json:"unit"`
	Saturated Load    `json:"saturated"`           // by callers who never pause: all that it can do
	Sustained float64 `json:"sustained"`           // highest rate that was kept up, a second; 0: none of the steps
	Steps     []Load  `json:"steps"`               // of the search, open-loop
	Half      Load    `json:"half"`                // at half that rate
	Direct    *Load   `json:"direct,omitempty"`    // the same steps without HTTP, in the bench's own process
	Bare      *Load   `json:"bare,omitempty"`      // a bare net/http handler
	BareHalf  *Load   `json:"bare_half,omitempty"` // it at the rate of Half
	Computing *Load   `json:"computing,omitempty"` // at that rate, one that computes for as long as Usage.CPU
	Usage     Usage   `json:"usage"`               // of the server, for each operation, while saturated

	Part     string   `json:"part,omitempty"` // a part of the operation that counts by itself
	PartIdle *Latency `json:"part_idle,omitempty"`
	IdleRate float64  `json:"idle_rate,omitempty"`
	PartHalf *Latency `json:"part_half,omitempty"`
}

// Load is one stretch of load.
type Load struct {
	Offered   float64          `json:"offered,omitempty"` // a second; 0: as much as the callers could
	Seconds   float64          `json:"seconds"`
	Done      int64            `json:"done"`
	PerSecond float64          `json:"per_second"`
	Failed    int64            `json:"failed"`
	Failures  map[string]int64 `json:"failures,omitempty"` // by reason
	Latency   Latency          `json:"latency_ms"`
}

// Latency is how long operations took, in milliseconds, those that failed left out.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Usage is what an operation costs the server.
type Usage struct {
	CPU     float64 `json:"cpu_us"`        // microseconds of processor time
	Written float64 `json:"written_bytes"` // to disk and sockets
	Read    float64 `json:"read_bytes"`
	Load    float64 `json:"load_cpu_us"` // the load generator's own
}

// Streams is what idle waiting costs.
type Streams struct {
	Store       string  `json:"store"`
	Open        int     `json:"open"`
	Refused     int     `json:"refused"`
	Limit       string  `json:"limit"` // what kept it from being more
	BytesEach   float64 `json:"bytes_each"`
	PerGiB      float64 `json:"per_gib"` // extrapolated
	ResidentMiB float64 `json:"resident_mib"`
}

// Start is how a server came up on a database that was there.
type Start struct {
	Store       string  `json:"store"`
	ReadyMS     float64 `json:"ready_ms"`
	ResidentMiB float64 `json:"resident_mib"`
}

// Growth is one number of users.
type Growth struct {
	Users     int       `json:"users"`
	FileMiB   float64   `json:"file_mib"`
	PerSecond []float64 `json:"per_second"` // verifications, of each round
	Median    float64   `json:"median"`
	Usage     Usage     `json:"usage"`
	Failed    int64     `json:"failed"`
	FilledIn  float64   `json:"filled_in_s"`
	Verify    Pages     `json:"verify_pages"`
	Approval  Pages     `json:"approval_pages"`
}

// Pages is how many pages of SQLite an operation touches.
type Pages struct {
	Looked  float64 `json:"looked_at"`
	Written float64 `json:"written"`
}

// Retention is what old approvals that leave cost whoever works meanwhile.
type Retention struct {
	Store string  `json:"store"`
	Old   int     `json:"old"`           // approvals at the beginning
	Left  int64   `json:"left"`          // that were removed meanwhile
	Rate  float64 `json:"verifications"` // a second
	Stay  []Load  `json:"stay"`          // rounds in which they stay
	Leave []Load  `json:"leave"`         // and in which they leave
}

// Machine is where it was measured.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGiB  float64 `json:"memory_gib"`
	System     string  `json:"system"`
	Go         string  `json:"go"`
	FlushMS    float64 `json:"flush_ms"` // median of writing 4 KiB and flushing it
	LoadBefore string  `json:"load_before"`
	LoadAfter  string  `json:"load_after"`
}

// round keeps three digits behind the point.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }
