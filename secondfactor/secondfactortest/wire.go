// This file owns the wire: the Authy API as far as applications call it in a log-in.

package secondfactortest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
)

// ServeHTTP speaks the Authy API.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.hangs(r) {
		return
	}
	if r.Header.Get("X-Authy-API-Key") != APIKey {
		refuse(w, 401, "60001", "Invalid API key")
		return
	}
	p.routes().ServeHTTP(w, r)
}

// hangs waits while the provider is down, and reports whether the caller gave up.
func (p *Provider) hangs(r *http.Request) bool {
	for {
		p.mu.Lock()
		down, changed := p.down, p.changed
		p.mu.Unlock()
		if !down {
			return false
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return true
		}
	}
}

func (p *Provider) routes() *http.ServeMux {
	mux := http.NewServeMux()
	on := func(operation, pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			code := p.refuse[operation]
			p.calls[operation]++
			p.mu.Unlock()
			if code != "" {
				refuse(w, statuses[code], code, "Refused for the test of +1 202 555 0123")
				return
			}
			h(w, r)
		})
	}
	on("add", "POST /protected/json/users/new", p.addUser)
	on("user", "GET /protected/json/users/{id}/status", p.userStatus)
	on("remove", "POST /protected/json/users/{id}/remove", p.removeUser)
	on("remove device", "DELETE /protected/json/sdk/devices/{device}", p.removeDevice)
	on("verify", "GET /protected/json/verify/{code}/{id}", p.verify)
	on("sms", "GET /protected/json/sms/{id}", p.sms)
	on("call", "GET /protected/json/call/{id}", p.sms)
	on("start", "POST /protected/json/phones/verification/start", p.startVerification)
	on("check", "GET /protected/json/phones/verification/check", p.checkVerification)
	on("create", "POST /onetouch/json/users/{id}/approval_requests", p.create)
	on("ticket", "POST /onetouch/json/users/{id}/enrollment_tickets", p.ticket)
	on("notice", "POST /onetouch/json/users/{id}/notices", p.notice)
	on("reset", "POST /onetouch/json/users/{id}/reset", p.askReset)
	on("stop", "POST /onetouch/json/users/{id}/reset/stop", p.stopReset)
	on("finish", "POST /onetouch/json/users/{id}/reset/finish", p.finishReset)
	on("read", "GET /onetouch/json/approval_requests/{uuid}", p.read)
	on("renotify", "POST /onetouch/json/approval_requests/{uuid}/renotify", p.renotify)
	on("cancel", "POST /onetouch/json/approval_requests/{uuid}/cancel", p.cancel)
	return mux
}

// statuses are the HTTP statuses of the error codes a test may choose; others answer 400.
var statuses = map[string]int{
	"60000": 500, "60003": 429, "60006": 403, "60007": 403, "60010": 429, "60012": 429, "60013": 403, "60014": 503, "60015": 503, "60017": 503,
	"60019": 401, "60020": 401, "60026": 404, "60065": 403, "60082": 403, "60120": 429,
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	if status == 0 {
		status = 400
	}
	write(w, status, map[string]any{"message": message, "success": false, "errors": map[string]string{"message": message}, "error_code": code})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// user returns the user a request names, with the lock held, or answers that there is none.
func (p *Provider) user(w http.ResponseWriter, r *http.Request) (u *user, unlock func()) {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	p.mu.Lock()
	if u = p.users[id]; u == nil {
		p.mu.Unlock()
		refuse(w, 404, "60026", "User not found.")
		return nil, nil
	}
	return u, p.mu.Unlock
}

func (p *Provider) addUser(w http.ResponseWriter, r *http.Request) {
	var body struct {
		User struct {
			Email   string `json:"email"`
			Phone   string `json:"cellphone"`
			Country string `json:"country_code"`
		} `json:"user"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.User.Phone == "" || body.User.Email == "" {
		refuse(w, 400, "60027", "User was not valid")
		return
	}
	id := p.AddUser(body.User.Email, body.User.Country, body.User.Phone)
	write(w, 200, map[string]any{"message": "User created successfully.", "success": true, "user": map[string]any{"id": id}})
}

func (p *Provider) userStatus(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	platforms, detailed := []string{}, []map[string]any{}
	for _, d := range u.devices {
		platforms = append(platforms, "android")
		detailed = append(detailed, map[string]any{
			"device_type": "authy", "os_type": "android", "registration_method": "ticket", "device_id": d.Grant,
			"creation_date": 1700000000, "last_sync_date": 1700000000, "public_key": d.PublicKey, "name": d.Name,
		})
	}
	write(w, 200, map[string]any{"success": true, "message": "User status.", "status": map[string]any{
		"authy_id": u.id, "reset": p.resetOf(u), "confirmed": false, "registered": len(u.devices) > 0, "country_code": 1, "phone_number": "XXX-XXX-0123",
		"devices": platforms, "detailed_devices": detailed, "deleted_devices": []string{},
	}})
}

func (p *Provider) removeUser(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	delete(p.users, u.id)
	write(w, 200, map[string]any{"success": true, "message": "User removed from application"})
}

func (p *Provider) removeDevice(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.users {
		at := slices.IndexFunc(u.devices, func(d *Device) bool { return strconv.FormatInt(d.Grant, 10) == r.PathValue("device") })
		if at >= 0 {
			u.devices = slices.Delete(u.devices, at, at+1)
			write(w, 200, map[string]any{"success": true, "message": "Device was deleted"})
			return
		}
	}
	refuse(w, 404, "60092", "Device not found")
}

func (p *Provider) verify(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	code := r.PathValue("code")
	sent := u.code != "" && code == u.code && r.FormValue("action") == u.action
	shown := (len(u.devices) > 0 && code == AppCode || u.generic && code == GenericCode) && r.FormValue("sent_only") != "true"
	switch {
	case u.used[code]:
		refuse(w, 401, "60019", "Token is invalid. Token was used recently.")
	case sent || shown:
		u.used[code], u.begun = true, false
		device := map[string]any{"id": nil, "os_type": "sms"}
		if !sent {
			device = map[string]any{"id": 1, "os_type": "unknown"}
		}
		write(w, 200, map[string]any{"message": "Token is valid.", "token": "is valid", "success": "true", "device": device})
	default:
		refuse(w, 401, "60020", "Token is invalid")
	}
}

func (p *Provider) sms(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	if len(u.devices) > 0 && r.FormValue("force") != "true" {
		write(w, 200, map[string]any{"message": "Ignored: SMS is not needed for smartphones.", "cellphone": "+1-XXX-XXX-XX23", "device": "android", "ignored": true, "success": true})
		return
	}
	u.sent++
	u.code, u.action = strconv.Itoa(1_000_000+u.sent), r.FormValue("action")
	write(w, 200, map[string]any{"success": true, "message": "SMS token was sent", "cellphone": "+1-XXX-XXX-XX23"})
}

func (p *Provider) startVerification(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Phone   string `json:"phone_number"`
		Country string `json:"country_code"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Phone == "" || body.Country == "" {
		refuse(w, 400, "60033", "Phone number is invalid")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.numbers[body.Country+" "+body.Phone]
	if n == nil {
		n = &number{}
		p.numbers[body.Country+" "+body.Phone] = n
	}
	n.sent++
	n.code = strconv.Itoa(100_000 + n.sent)
	write(w, 200, map[string]any{"uuid": newUUID(), "seconds_to_expire": 600, "message": "Text message sent.", "success": true})
}

func (p *Provider) checkVerification(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch n := p.numbers[r.FormValue("country_code")+" "+r.FormValue("phone_number")]; {
	case n == nil || n.code == "":
		refuse(w, 404, "60023", "No pending verifications found.")
	case n.code != r.FormValue("verification_code"):
		refuse(w, 401, "60022", "Verification code is incorrect")
	default:
		n.code = ""
		write(w, 200, map[string]any{"message": "Verification code is correct.", "success": true})
	}
}

func (p *Provider) ticket(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	p.writeTicket(w, u)
}

// writeTicket answers with a ticket for the user, which ends the one before. The caller holds the lock.
func (p *Provider) writeTicket(w http.ResponseWriter, u *user) {
	p.tickets++
	words := "lusab-babad-gutih-tugad-mudof-sakat-lusab-" + word(p.tickets)
	u.ticket = words
	write(w, 200, map[string]any{"success": true, "message": "Enrollment ticket was created.", "enrollment_ticket": map[string]any{
		"link": Origin + "/enroll#" + words, "words": words, "expires_at": p.now().Add(10 * time.Minute).UTC().Format(time.RFC3339),
	}})
}

// word is a number as tickets spell it.
func word(n uint16) string {
	const consonants, vowels = "bdfghjklmnprstvz", "aiou"
	return string([]byte{consonants[n>>12], vowels[n>>10&3], consonants[n>>6&15], vowels[n>>4&3], consonants[n&15]})
}

// resetOf is a user's reset as the API shows it. The caller holds the lock.
func (p *Provider) resetOf(u *user) any {
	switch r := u.reset; {
	case r == nil:
		return nil
	case r.due.IsZero():
		return map[string]any{"state": "asked", "asked_at": r.asked.UTC().Format(time.RFC3339), "due_at": nil}
	case p.now().Before(r.due):
		return map[string]any{"state": "allowed", "asked_at": r.asked.UTC().Format(time.RFC3339), "due_at": r.due.UTC().Format(time.RFC3339)}
	default:
		return map[string]any{"state": "due", "asked_at": r.asked.UTC().Format(time.RFC3339), "due_at": r.due.UTC().Format(time.RFC3339)}
	}
}

func (p *Provider) askReset(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	if u.reset == nil {
		u.reset = &reset{asked: p.now()}
	}
	write(w, 200, map[string]any{"success": true, "message": "Reset was asked for.", "reset": p.resetOf(u)})
}

func (p *Provider) stopReset(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	if u.reset == nil {
		refuse(w, 404, "60901", "No reset is under way for this user.")
		return
	}
	u.reset = nil
	write(w, 200, map[string]any{"success": true, "message": "Reset was stopped."})
}

func (p *Provider) finishReset(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	switch {
	case u.reset == nil && u.begun: // the first answer may have been lost
		p.writeTicket(w, u)
	case u.reset == nil:
		refuse(w, 404, "60901", "No reset is under way for this user.")
	case u.reset.due.IsZero() || p.now().Before(u.reset.due):
		refuse(w, 409, "60902", "This reset cannot be finished yet.")
	default:
		u.reset, u.devices, u.generic, u.code, u.begun = nil, nil, false, "", true
		p.writeTicket(w, u)
	}
}

func (p *Provider) notice(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	var body struct {
		Notice string `json:"notice"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Notice != client.NoticeNumberChanged {
		refuse(w, 400, "60004", "Invalid parameter: notice")
		return
	}
	write(w, 200, map[string]any{"success": true, "message": "Notice was sent."})
}

func (p *Provider) create(w http.ResponseWriter, r *http.Request) {
	u, unlock := p.user(w, r)
	if u == nil {
		return
	}
	defer unlock()
	if p.notMe > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.notMe/time.Second)))
		write(w, 429, map[string]any{"message": "It was not me", "success": false, "errors": map[string]string{}, "error_code": "60003", "reason": "not-me"})
		return
	}
	if len(u.devices) == 0 {
		refuse(w, 400, "60050", "User has no registered device.")
		return
	}
	var body struct {
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
		Hidden  json.RawMessage `json:"hidden_details"`
		Logos   []client.Logo   `json:"logos"`
		Seconds int64           `json:"seconds_to_expire"`
		Context struct {
			IP        string `json:"ip"`
			UserAgent string `json:"user_agent"`
			Origin    string `json:"origin"`
		} `json:"context"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Message == "" {
		refuse(w, 400, "60080", "Approval request is invalid")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	uuid := p.keys["key|"+key]
	if uuid == "" {
		uuid = newUUID()
		a := &Approval{
			UUID: uuid, AuthyID: u.id, Message: body.Message, Details: fields(body.Details), Hidden: fields(body.Hidden),
			Context: receipt.Context{Address: body.Context.IP, Browser: body.Context.UserAgent, Origin: body.Context.Origin},
			Status:  client.StatusPending, Match: p.match, Created: p.now(), Life: time.Duration(body.Seconds) * time.Second,
		}
		if len(body.Logos) > 0 {
			a.Logo = body.Logos[0].URL
		}
		p.approvals[uuid], p.keys["key|"+key] = a, uuid
		p.order = append(p.order, uuid)
	}
	write(w, 200, map[string]any{"success": true, "message": "Approval request was created.", "approval_request": p.wire(p.at(uuid))})
}

// fields reads a JSON object in its order.
func fields(object json.RawMessage) (list []client.Field) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		return nil
	}
	for decoder.More() {
		name, _ := decoder.Token()
		value, _ := decoder.Token()
		text, _ := value.(string)
		list = append(list, client.Field{Name: name.(string), Value: text})
	}
	return list
}

// wire is an approval as the API shows it.
func (p *Provider) wire(a *Approval) map[string]any {
	shown := map[string]any{
		"uuid": a.UUID, "status": a.Status, "_authy_id": a.AuthyID, "_app_name": Application, "app_id": ApplicationID,
		"created_at": a.Created.UTC().Format(time.RFC3339), "seconds_to_expire": int64(a.Life / time.Second), "processed_at": nil, "reason": a.Reason,
	}
	if a.Status == client.StatusCancelled {
		shown["status"], shown["cancelled"] = client.StatusExpired, true
	}
	if a.Match != "" {
		shown["match"] = client.Match{Mode: client.MatchType, Value: a.Match}
	}
	if !a.processed.IsZero() {
		shown["processed_at"] = a.processed.UTC().Format(time.RFC3339)
	}
	if a.receipt != nil {
		shown["receipt"] = a.receipt
	}
	return shown
}

// read answers how an approval stands, after a while if the caller wants to wait.
func (p *Provider) read(w http.ResponseWriter, r *http.Request) {
	uuid := strings.ToLower(r.PathValue("uuid"))
	seconds, _ := strconv.Atoi(r.FormValue("wait"))
	until := p.now().Add(time.Duration(seconds) * time.Second)
	for {
		p.mu.Lock()
		a, changed, left := p.at(uuid), p.changed, until.Sub(p.now())
		if a == nil || a.Status != client.StatusPending || left <= 0 {
			defer p.mu.Unlock()
			p.tell(w, uuid)
			return
		}
		if ends := a.Created.Add(a.Life).Sub(p.now()); a.Life > 0 && ends < left {
			left = ends
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(left):
		case <-r.Context().Done():
			return
		}
	}
}

// tell answers with an approval as it stands. The caller holds the lock.
func (p *Provider) tell(w http.ResponseWriter, uuid string) {
	a := p.at(uuid)
	if a == nil {
		write(w, 404, map[string]any{"message": "Approval request not found: " + uuid, "success": false, "errors": map[string]string{}, "error_code": "60049"})
		return
	}
	write(w, 200, map[string]any{"success": true, "approval_request": p.wire(a)})
}

func (p *Provider) renotify(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch a := p.at(r.PathValue("uuid")); {
	case a == nil:
		refuse(w, 404, "60049", "Approval request not found")
	case a.Status != client.StatusPending:
		refuse(w, 400, "60079", "Approval request is no longer pending")
	default:
		write(w, 200, map[string]any{"success": true, "message": "Devices were told again.", "approval_request": p.wire(a)})
	}
}

func (p *Provider) cancel(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.at(r.PathValue("uuid"))
	switch {
	case a == nil:
		refuse(w, 404, "60049", "Approval request not found")
	case a.Status != client.StatusPending:
		refuse(w, 400, "60079", "Approval request is no longer pending")
	default:
		a.Status, a.processed = client.StatusCancelled, p.now()
		p.wake()
		write(w, 200, map[string]any{"success": true, "message": "Approval request was cancelled.", "approval_request": p.wire(a)})
	}
}
