package deviceapi

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/web"
)

// This file owns steps 5 and 6 of the journey as a device sees them: what waits for it, and its answer.

// approvalView is what a device shows and signs. It never carries the number to match (T-11).
type approvalView struct {
	UUID        string      `json:"uuid"`
	Application application `json:"application"`
	Account     string      `json:"account"`
	Logo        string      `json:"logo"` // hex SHA-256, or ""
	Message     string      `json:"message"`
	Details     []field     `json:"details"`
	Context     *origin     `json:"context,omitempty"` // as told by the application
	CreatedAt   int64       `json:"created_at"`
	ExpiresAt   int64       `json:"expires_at"` // 0 = never
	Status      string      `json:"status"`
	Match       match       `json:"match"`
	Sign        sign        `json:"sign"`
}

// report tells that the person said on one of their devices that a request was not theirs.
type report struct {
	Application string `json:"application"`
	Account     string `json:"account"`
	Device      string `json:"device"`
	At          int64  `json:"at"`
	Until       int64  `json:"until"` // until then the application asks nothing
}

// origin is where the request was started.
type origin struct {
	Address string `json:"address"`
	Browser string `json:"browser"`
	Origin  string `json:"origin"`
}

type field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type match struct {
	Mode   string `json:"mode"`
	Digits int    `json:"digits"`
}

// sign is what the signed answer holds beside what is shown (contract section 1).
type sign struct {
	Origin   string `json:"origin"`
	Device   string `json:"device"`
	User     int64  `json:"user"`
	Hidden   string `json:"hidden"`
	Nonce    string `json:"nonce"`
	IssuedAt int64  `json:"issued_at"`
}

func (s *surface) viewApproval(d device.Device, a approval.Approval) approvalView {
	out := approvalView{
		UUID: a.UUID, Application: application{a.AppID, a.Content.Application}, Account: a.UserEmail, Logo: a.Content.Logo,
		Message: a.Content.Message, Details: []field{}, CreatedAt: a.CreatedAt.Unix(), Status: string(a.Status),
		Match: match{string(a.Match.Mode), len(a.Match.Value)},
		Sign: sign{
			Origin: s.Approvals.Origin, Device: d.ID, User: a.AuthyID, Hidden: receipt.HiddenDigest(a.Hidden), Nonce: a.Nonce, IssuedAt: a.CreatedAt.Unix(),
		},
	}
	if !a.ExpiresAt.IsZero() {
		out.ExpiresAt = a.ExpiresAt.Unix()
	}
	if a.Content.Context != (receipt.Context{}) {
		out.Context = (*origin)(&a.Content.Context)
	}
	for _, f := range a.Content.Details {
		out.Details = append(out.Details, field(f))
	}
	return out
}

func (s *surface) listApprovals(w http.ResponseWriter, r *http.Request, d device.Device) error {
	in, err := s.Approvals.Inbox(r.Context(), d)
	if err == nil && in.Unfetched {
		err = s.Push.Fetched(r.Context(), d)
	}
	if err != nil {
		return err
	}
	out := struct {
		Approvals  []approvalView `json:"approvals"`
		Reports    []report       `json:"reports"`
		ServerTime int64          `json:"server_time"` // Unix milliseconds
	}{[]approvalView{}, []report{}, s.Now().UnixMilli()}
	for _, p := range in.Reports {
		out.Reports = append(out.Reports, report{p.Application, p.Account, p.Device, p.At.Unix(), p.Until.Unix()})
	}
	for _, a := range in.Waiting {
		out.Approvals = append(out.Approvals, s.viewApproval(d, a))
	}
	return web.JSON(w, http.StatusOK, out)
}

func (s *surface) showApproval(w http.ResponseWriter, r *http.Request, d device.Device) error {
	uuid := r.PathValue("uuid")
	if !isID(uuid) {
		return approval.ErrUnknown
	}
	a, err := s.Approvals.ForDevice(r.Context(), d, uuid)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, s.viewApproval(d, a))
}

type answerRequest struct {
	Decision  string `json:"decision"`
	Match     string `json:"match"`
	Signature string `json:"signature"`
}

func (in answerRequest) check() error {
	switch {
	case in.Decision != approval.Approve && in.Decision != approval.Deny && in.Decision != approval.NotMe:
		return errInvalid.Saying("The decision is approve, deny or not-me.")
	case len(in.Match) > 6 || strings.IndexFunc(in.Match, func(r rune) bool { return r < '0' || r > '9' }) >= 0:
		return errInvalid.Saying("The number to match has at most 6 digits and nothing else.")
	}
	return nil
}

func (s *surface) answer(w http.ResponseWriter, r *http.Request, d device.Device) error {
	var in answerRequest
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	uuid := r.PathValue("uuid")
	if !isID(uuid) {
		return approval.ErrUnknown
	}
	web.Note(r, slog.String("approval", uuid))
	a, err := s.Approvals.Answer(r.Context(), d, uuid, approval.Answer{Decision: in.Decision, Match: in.Match, Signature: in.Signature})
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct {
		Status      string `json:"status"`
		ProcessedAt int64  `json:"processed_at"`
	}{string(a.Status), a.ProcessedAt.Unix()})
}

// logo answers with a picture by its digest. It can never change, so a device keeps it.
func (s *surface) logo(w http.ResponseWriter, r *http.Request, _ device.Device) error {
	digest := r.PathValue("digest")
	if !isID(digest) {
		return errNoRoute
	}
	png, err := s.Logos(r.Context(), digest)
	if err != nil {
		return err
	}
	if png == nil {
		return errNoRoute
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Length", strconv.Itoa(len(png)))
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	w.Write(png) // fails only when the caller has left
	return nil
}
