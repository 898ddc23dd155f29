#include <iostream>

#include "notes/note_codec.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/codec_stream.h"

using NoteStream = sluice::CodecStream<NoteCodec>;

class Echo : public sluice::CodecHandler<NoteCodec> {
  void OnMessage(NoteStream& stream, Note note) override {
    if (stream.Send(note) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(NoteStream& stream) override { stream.ResumeReceiving(); }
};

int main() {
  Echo echo;
  auto loop = *sluice::EventLoop::Create();
  auto listener = sluice::Listener::Listen(
      *loop, *sluice::SocketAddress::Parse("127.0.0.1:9002"), {},
      [&](auto stream) { NoteStream::Run(std::move(stream), NoteCodec(), echo); });
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  loop->Run();
}
