//go:build !race

// Package scale_test simulates, in virtual time, what one machine cannot show: the morning rush of a million people, and a region that goes
// away with its nodes. docs/scale.md quotes what it prints.
//
// The model is a queue in front of the cores of each node, and one in front of those of the database. Every request takes its turn in both, for
// as long as was measured. People think, streams break and come back, and who waits too long gives up while the work for them
// is still done. It is the same on every machine: whole microseconds, and a generator with a fixed seed.
// One goroutine does all of it, which the race detector would only make two hundred times slower; script/test fuzz runs it.
package scale_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// cost is what a request takes of a core.
type cost struct{ node, database time.Duration }

// What was measured (docs/scale.md, "What an operation costs"), with HTTP and a margin of a half.
var (
	costAsk    = cost{900 * time.Microsecond, 1200 * time.Microsecond}  // an approval is asked for
	costRead   = cost{500 * time.Microsecond, 400 * time.Microsecond}   // a device reads what waits; an application reads the decision
	costAnswer = cost{1500 * time.Microsecond, 1600 * time.Microsecond} // a signed answer is checked and kept, its callback built and sent
	costCode   = cost{600 * time.Microsecond, 800 * time.Microsecond}   // an app code is checked
	costStream = cost{700 * time.Microsecond, 500 * time.Microsecond}   // a stream is opened: session, grants, the list that is read after
)

// patience is how long whoever asks waits for an answer.
const patience = 10 * time.Second

// thinking is how long people take to answer, each as likely.
var thinking = []time.Duration{3 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second, 7 * time.Second, 8 * time.Second, 10 * time.Second, 13 * time.Second, 20 * time.Second, 40 * time.Second}

// world is one installation: nodes in front of one database.
type world struct {
	now      time.Duration
	random   *rand.Rand
	agenda   agenda
	nodes    []*cores
	database *cores
}

// event is something that happens at a time; those of one time happen in order.
type event struct {
	at time.Duration
	n  int
	do func()
}

func (e event) before(other event) bool { return e.at < other.at || e.at == other.at && e.n < other.n }

// agenda is a heap, the next event first. There are millions: container/heap would put each into an interface.
type agenda struct {
	events []event
	n      int
}

func (a *agenda) add(at time.Duration, do func()) {
	a.n++
	a.events = append(a.events, event{at, a.n, do})
	for i := len(a.events) - 1; i > 0; {
		up := (i - 1) / 2
		if !a.events[i].before(a.events[up]) {
			break
		}
		a.events[i], a.events[up] = a.events[up], a.events[i]
		i = up
	}
}

func (a *agenda) next() event {
	first, last := a.events[0], len(a.events)-1
	a.events[0] = a.events[last]
	a.events[last].do = nil
	a.events = a.events[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if a.events[child].before(a.events[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		a.events[i], a.events[least] = a.events[least], a.events[i]
		i = least
	}
}

func newWorld(nodes, coresEach, databaseCores int) *world {
	w := &world{random: rand.New(rand.NewPCG(2026, 11)), database: newCores(databaseCores)}
	for range nodes {
		w.nodes = append(w.nodes, newCores(coresEach))
	}
	return w
}

// at has do happen at that time.
func (w *world) at(when time.Duration, do func()) { w.agenda.add(max(when, w.now), do) }

// run lets everything happen until then.
func (w *world) run(until time.Duration) {
	for len(w.agenda.events) > 0 {
		e := w.agenda.next()
		if e.at > until {
			return
		}
		w.now = e.at
		e.do()
	}
}

// between returns a time between two, each as likely.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.random.Int64N(int64(to-from)/1000+1))*1000
}

// cores work for whoever comes first.
type cores struct {
	free []time.Duration // when each is free
	busy []time.Duration // by second
}

func newCores(n int) *cores { return &cores{free: make([]time.Duration, n)} }

// take returns when work that comes now is done.
func (c *cores) take(now, work time.Duration) time.Duration {
	first := 0
	for i := range c.free {
		if c.free[i] < c.free[first] {
			first = i
		}
	}
	begins := max(now, c.free[first])
	c.free[first] = begins + work
	second := int(begins / time.Second)
	for len(c.busy) <= second {
		c.busy = append(c.busy, 0)
	}
	c.busy[second] += work
	return c.free[first]
}

// use returns how busy the cores were in their busiest ten seconds, in percent.
func (c *cores) use() int {
	var most time.Duration
	for i := range c.busy {
		var sum time.Duration
		for _, b := range c.busy[max(0, i-9) : i+1] {
			sum += b
		}
		most = max(most, sum)
	}
	return int(100 * most / (10 * time.Second * time.Duration(len(c.free))))
}

// request takes its turn at a node and at the database, and then calls done with how long it took; unless whoever asked has given up: gaveUp.
func (w *world) request(c cost, done func(took time.Duration), gaveUp func()) {
	begun := w.now
	node := w.nodes[w.random.IntN(len(w.nodes))]
	w.at(node.take(w.now, c.node), func() {
		ends := w.database.take(w.now, c.database)
		if took := ends - begun; took <= patience {
			w.at(ends, func() { done(took) })
			return
		}
		w.at(begun+patience, gaveUp)
	})
}

// day is what is seen of the log-ins of a simulation.
type day struct {
	took    []time.Duration // of the servers' part of each
	failed  int             // gave up
	waiting int             // people whose log-in has begun and not ended
	most    int
}

// logIn has somebody log in: four of five by approval, one by app code.
func (w *world) logIn(d *day) {
	d.waiting++
	d.most = max(d.most, d.waiting)
	var sum time.Duration
	end := func() { d.waiting--; d.took = append(d.took, sum) }
	failed := func() { d.waiting--; d.failed++ }
	step := func(c cost, then func()) {
		w.request(c, func(took time.Duration) { sum += took; then() }, failed)
	}
	if w.random.IntN(5) == 0 {
		step(costCode, end)
		return
	}
	step(costAsk, func() { // the device is woken, opens the app, and reads
		step(costStream, func() {
			w.at(w.now+thinking[w.random.IntN(len(thinking))], func() {
				step(costAnswer, func() { step(costRead, end) })
			})
		})
	})
}

// percentile returns that of times, which it sorts.
func percentile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*percent/100)]
}

// short writes a time in few characters.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%d.%d ms", d.Milliseconds(), d.Microseconds()%1000/100)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d.%d s", int(d.Seconds()), d.Milliseconds()%1000/100)
}

// rush has people log in within a time, most in its middle: the sum of two even chances.
func rush(nodes, databaseCores, people int, within time.Duration) string {
	w, d := newWorld(nodes, 2, databaseCores), &day{}
	for range people {
		w.at((w.between(0, within)+w.between(0, within))/2, func() { w.logIn(d) })
	}
	w.run(within + time.Hour)
	busiest := 0
	for _, n := range w.nodes {
		busiest = max(busiest, n.use())
	}
	return fmt.Sprintf("| %d × 2 cores | %d cores | %s in %d s | %d | %d | %d %% | %d %% | %s | %s | %d.%d %% |\n", nodes, databaseCores, count(people), int(within.Seconds()),
		2*people/int(within.Seconds()), d.most, busiest, w.database.use(), short(percentile(d.took, 50)), short(percentile(d.took, 99)), 100*d.failed/people, 1000*d.failed/people%10)
}

func count(n int) string {
	if n >= 1_000_000 {
		return fmt.Sprintf("%d.%d million", n/1_000_000, n/100_000%10)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// loss is what a region takes with it, and how what it lost comes back.
type loss struct {
	streams  int
	from, to time.Duration // each stream comes back at its moment between them
	polls    bool          // a page reads every three seconds until its stream is back
	careful  bool          // five times as long as the last read took, when that is more: what the authenticator does
	away     time.Duration // of the database, until its standby has taken over
}

// outage has half of the nodes go away amid even log-ins. Streams that came to nothing try again after some seconds.
func outage(l loss) string {
	const (
		perSecond = 12 // log-ins
		dies      = 75 * time.Second
		lasts     = 3 * time.Minute
		ends      = lasts + time.Minute
		bundle    = 5 // streams that do the same at the same time, so that there is less to compute
	)
	many := func(c cost) cost { return cost{bundle * c.node, bundle * c.database} }
	w, calm, rough := newWorld(2, 1, 2), &day{}, &day{}
	for at := time.Duration(0); at < lasts; at += time.Second / perSecond {
		d := rough
		if at < dies-45*time.Second { // the slowest have ended by then
			d = calm
		}
		w.at(at, func() { w.logIn(d) })
	}
	var back []time.Duration
	tries, reads := 0, 0
	returns := func() {
		isBack := false
		var open, poll func()
		again := func(open func()) {
			if l.careful { // the page opens its stream anew after such a pause
				w.at(w.now+w.between(25*time.Second, 50*time.Second), open)
				return
			}
			w.at(w.now+w.between(1500*time.Millisecond, 3*time.Second), open)
		}
		open = func() {
			tries++
			w.request(many(costStream), func(time.Duration) { isBack, back = true, append(back, w.now-dies) }, func() { again(open) })
		}
		poll = func() {
			if !isBack {
				reads++
				again := func(took time.Duration) { // one read at a time
					pause := 3 * time.Second
					if l.careful {
						pause = max(pause, 5*took)
					}
					w.at(w.now+pause, poll)
				}
				w.request(many(costRead), again, func() { again(patience) })
			}
		}
		w.at(w.now+w.between(l.from, l.to), open)
		if l.polls {
			w.at(w.now+w.between(1500*time.Millisecond, 3*time.Second), poll)
		}
	}
	w.at(dies, func() {
		w.nodes = w.nodes[:1]
		for i := range w.database.free {
			w.database.free[i] = max(w.database.free[i], w.now+l.away)
		}
		for range l.streams / bundle {
			returns()
		}
	})
	w.run(ends)
	within := "not at all"
	if all := l.streams / bundle; len(back) >= all*99/100 {
		within = short(percentile(back, 99*all/len(back)))
	}
	spread := "at once"
	if l.to > 0 {
		spread = short(l.from) + " to " + short(l.to)
	}
	reading := "nothing"
	if l.polls {
		reading = "every 3 s"
	}
	if l.careful {
		reading = "every 3 s, slower when slow"
	}
	return fmt.Sprintf("| %s | %s | %s | %d s | %s | %s | %s | %d of %s | %s | %s |\n", count(l.streams), spread, reading, int(l.away.Seconds()), within,
		each(bundle*tries, l.streams), each(bundle*reads, l.streams), rough.failed, count(rough.failed+len(rough.took)), short(percentile(calm.took, 99)), short(percentile(rough.took, 99)))
}

// each is how many of a kind each has, with one digit.
func each(n, of int) string { return fmt.Sprintf("%d.%d", n/of, n*10/of%10) }
