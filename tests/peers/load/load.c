/* load: a lean load on a server, for measuring the server: one thread, one epoll, every byte
 * checked.
 *
 *   load --address=127.0.0.1:9000 --protocol=raw|frame|websocket|resp_set|resp_get --mode=MODE
 *        [--tls] [--deflate] [--connections=50] [--pipeline=1] [--size=1024] [--seconds=1]
 *        [--warm_up=0] [--messages=N] [--rate=N] [--pid=PID] [--gate]
 *
 *   echo       each connection keeps --pipeline messages in flight
 *   lockstep   the same, but the next are sent when all answers have come and the server (--pid)
 *              sleeps; --messages in all
 *   rate       messages leave at --rate a second, whether answers come or not; latencies count from
 *              when each was to leave. What is told of them is that of a tenth of a second, the
 *              median of all of these: stalls of the machine itself are in some of them, and so is
 *              what a server does more rarely than every 0.2 s, but not in the median
 *   broadcast  the first connection sends, and all get it; --pipeline messages at a time
 *   set_up     connections are opened, say one thing, and are closed; --connections at a time
 *   hold       connections are opened, and have said one thing
 *
 * All connections are open, and (but for broadcast) have had an answer, before anything is
 * measured. With --gate it prints `ready` then, goes on after a line on standard input (hold: does
 * nothing more), and keeps its connections until the end of that. It prints one JSON object; with
 * --pid, the processor time that the server's threads took, of which nothing is under way when it
 * begins and when it ends. Exit status 1 if anything went wrong.
 */
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"

enum mode { ECHO, LOCKSTEP, RATE, BROADCAST, SET_UP, HOLD };
static const char* const kModes[] = {"echo", "lockstep", "rate", "broadcast", "set_up", "hold"};
static const char* const kProtocols[] = {"raw", "frame", "websocket", "resp_set", "resp_get"};

static const int kPatienceMs = 20000;
/* Less than any server's queue of connections to accept. */
static const size_t kOpeningAtOnce = 64;

static struct {
  const char* address;
  enum mode mode;
  enum protocol protocol;
  bool tls, deflate, gate;
  size_t connections, pipeline, size, messages;
  double seconds, warm_up, rate;
  int pid;
} options = {.connections = 50, .pipeline = 1, .size = 1024, .seconds = 1};

static struct net net;
static struct connection* connections;
static size_t in_flight;   /* answers that are to come */
static size_t answered;    /* in this phase */
static size_t left_to_ask; /* lockstep */
static size_t
    rounds; /* set_up: connections that are done; otherwise connections that have spoken */
static bool opening, is_running; /* is_running: answers cause questions */
static uint64_t* latencies;      /* in the order in which the messages were to leave */
static size_t latency_count;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Calls `look` with each thread's /proc/PID/task/TID/FILE, open. */
static void look_at_tasks(const char* name, void look(FILE* file, uint64_t* result),
                          uint64_t* result) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", options.pid);
  DIR* tasks = opendir(path);
  if (!tasks) die("--pid=%d: no such process", options.pid);
  for (struct dirent* task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    char file_name[400];
    snprintf(file_name, sizeof file_name, "%s/%s/%s", path, task->d_name, name);
    FILE* file = fopen(file_name, "r");
    if (!file) continue; /* it has ended meanwhile */
    look(file, result);
    fclose(file);
  }
  closedir(tasks);
}

static void add_processor_ns(FILE* file, uint64_t* sum) {
  unsigned long long ns = 0;
  if (fscanf(file, "%llu", &ns) == 1) *sum += ns;
}

static uint64_t processor_ns(void) {
  uint64_t sum = 0;
  if (options.pid) look_at_tasks("schedstat", add_processor_ns, &sum);
  return sum;
}

static void count_awake(FILE* file, uint64_t* awake) {
  char line[512];
  if (!fgets(line, sizeof line, file)) return;
  const char* name_end = strrchr(line, ')');
  if (name_end && strncmp(name_end, ") S", 3) != 0) ++*awake;
}

/* Until the server waits for events. */
static void await_sleep(void) {
  const uint64_t end = now_ns() + (uint64_t)kPatienceMs * 1000000;
  for (uint64_t awake = 1; awake > 0;) {
    if (now_ns() > end) die("the server does not come to rest in %d s", kPatienceMs / 1000);
    awake = 0;
    look_at_tasks("stat", count_awake, &awake);
  }
}

static void ask(struct connection* c, size_t count) {
  in_flight += options.mode == BROADCAST ? count * options.connections : count;
  connection_ask(&net, c, count);
}

static void ask_in_lockstep(void) {
  if (options.pid && left_to_ask > 0) await_sleep();
  for (size_t i = 0; i < options.connections && left_to_ask > 0; ++i) {
    const size_t count = left_to_ask < options.pipeline ? left_to_ask : options.pipeline;
    left_to_ask -= count;
    ask(&connections[i], count);
  }
}

/* Of a connection's messages from `begin` to `end`; all connections take turns in sending one. */
static void note_latencies(const struct connection* c, size_t begin, size_t end) {
  const uint64_t now = now_ns();
  for (size_t i = begin; i < end; ++i)
    latencies[i * options.connections + (size_t)(c - connections)] = now - c->due[i];
}

static void on_answers(struct connection* c, size_t count) {
  if (count > in_flight || (options.mode != BROADCAST && c->answered > c->asked))
    die("more answers than questions");
  in_flight -= count;
  answered += count;
  if (options.mode == RATE && !opening) {
    note_latencies(c, c->answered - count, c->answered);
  } else if (options.mode == SET_UP) {
    ++rounds;
    connection_close(c);
    if (is_running) connection_open(&net, c);
  } else if (opening) {
    ++rounds;
  } else if (!is_running) {
    return;
  } else if (options.mode == ECHO) {
    ask(c, count);
  } else if (options.mode == BROADCAST && in_flight == 0) {
    ask(&connections[0], options.pipeline);
  } else if (options.mode == LOCKSTEP && in_flight == 0) {
    ask_in_lockstep();
  }
}

static void turn(int wait_ms) {
  struct epoll_event events[256];
  const int count = epoll_wait(net.epoll, events, 256, wait_ms);
  if (count == 0 && wait_ms != 0)
    die("no answer for %d s; %zu are to come", kPatienceMs / 1000, in_flight);
  for (int i = 0; i < count; ++i) {
    struct connection* c = events[i].data.ptr;
    bool opened;
    const size_t answers = connection_advance(&net, c, &opened);
    if (opened && options.mode == BROADCAST)
      ++rounds;
    else if (opened)
      ask(c, 1);
    if (answers > 0) on_answers(c, answers);
  }
}

static void drain(void) {
  is_running = false;
  while (in_flight > 0) turn(kPatienceMs);
}

/* Each has had an answer then; but a broadcaster, which answers on all, is asked nothing before all
 * are open. */
static void open_all(void) {
  opening = true;
  for (size_t i = 0; i < options.connections; ++i) {
    connection_open(&net, &connections[i]);
    const size_t may_wait = i == 0 ? 0 : kOpeningAtOnce - 1;
    while (i + 1 - rounds > may_wait) turn(kPatienceMs);
  }
  while (rounds < options.connections) turn(kPatienceMs);
  opening = false;
}

static void await_input(bool to_its_end) {
  fflush(stdout);
  for (int c = getchar(); c != EOF && (c != '\n' || to_its_end); c = getchar()) {
  }
}

static void start_asking(void) {
  is_running = true;
  if (options.mode == BROADCAST) {
    ask(&connections[0], options.pipeline);
  } else if (options.mode == LOCKSTEP) {
    ask_in_lockstep();
  } else {
    for (size_t i = 0; i < options.connections; ++i)
      if (options.mode == SET_UP)
        connection_open(&net, &connections[i]);
      else
        ask(&connections[i], options.pipeline);
  }
}

/* Until the time is over, or all messages are answered. */
static void keep_asking(double seconds) {
  const uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
  answered = rounds = 0;
  start_asking();
  if (options.mode != LOCKSTEP)
    while (now_ns() < end) turn(kPatienceMs);
  if (options.mode != SET_UP) {
    if (options.mode == LOCKSTEP)
      while (in_flight > 0) turn(kPatienceMs);
    drain();
    return;
  }
  is_running = false;
  for (size_t i = 0; i < options.connections; ++i)
    while (connections[i].fd >= 0) turn(kPatienceMs);
}

static void keep_to_the_rate(double seconds) {
  const double between_ns = 1e9 / options.rate;
  const uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9),
                 give_up = end + 1000000000u;
  size_t sent = 0;
  answered = 0;
  for (size_t i = 0; i < options.connections; ++i)
    connections[i].asked = connections[i].answered = 0;
  for (uint64_t now = start; now < end || (in_flight > 0 && now < give_up); now = now_ns()) {
    for (uint64_t due; (due = start + (uint64_t)((double)sent * between_ns)) <= now && due < end;
         ++sent) {
      struct connection* c = &connections[sent % options.connections];
      c->due[c->asked] = due;
      ask(c, 1);
    }
    turn(0);
  }
  /* What has no answer has waited until now. */
  for (size_t i = 0; i < options.connections; ++i)
    note_latencies(&connections[i], connections[i].answered, connections[i].asked);
  latency_count = sent;
}

static int by_value(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

/* The latencies of each tenth of a second. */
static size_t window_count(void) {
  const size_t tenths = (size_t)(options.seconds * 10 + 0.5);
  return tenths < 1 ? 1 : tenths < latency_count ? tenths : latency_count;
}

static size_t window_begin(size_t i) { return latency_count * i / window_count(); }

static void sort_windows(void) {
  for (size_t i = 0; i < window_count(); ++i)
    qsort(latencies + window_begin(i), window_begin(i + 1) - window_begin(i), sizeof *latencies,
          by_value);
}

/* The median of those of the windows, which are sorted. */
static double quantile_us(double share) {
  if (latency_count == 0) return 0;
  const size_t windows = window_count();
  uint64_t* each = allocate(windows * sizeof *each);
  for (size_t i = 0; i < windows; ++i) {
    const size_t begin = window_begin(i), count = window_begin(i + 1) - begin;
    const size_t at = begin + (size_t)(share * (double)count);
    each[i] = latencies[at < latency_count ? at : latency_count - 1];
  }
  qsort(each, windows, sizeof *each, by_value);
  const double median = (double)each[windows / 2] / 1e3;
  free(each);
  return median;
}

static void measure(double seconds) {
  if (options.mode == RATE)
    keep_to_the_rate(seconds);
  else
    keep_asking(seconds);
}

static void tell(double seconds, double processor_seconds) {
  if (latency_count > 0) sort_windows();
  printf(
      "{\"count\": %zu, \"seconds\": %.9f, \"processor_seconds\": %.9f, \"p50_us\": %.3f, "
      "\"p99_us\": %.3f, \"p999_us\": %.3f}\n",
      options.mode == SET_UP ? rounds : answered, seconds, processor_seconds, quantile_us(0.5),
      quantile_us(0.99), quantile_us(0.999));
}

static void run(void) {
  if (options.mode == RATE) {
    const double most =
        options.rate * (options.seconds > options.warm_up ? options.seconds : options.warm_up);
    latencies = allocate(((size_t)most + 16) * sizeof *latencies);
    for (size_t i = 0; i < options.connections; ++i)
      connections[i].due = allocate(((size_t)most / options.connections + 16) * sizeof *latencies);
  }
  net.many_addresses = options.mode == SET_UP;
  if (options.mode != SET_UP) open_all();
  if (options.gate) {
    puts("ready");
    await_input(options.mode == HOLD);
  }
  if (options.mode == HOLD) return;
  if (options.mode == LOCKSTEP)
    left_to_ask = options.messages;
  else if (options.warm_up > 0)
    measure(options.warm_up);
  const uint64_t processor = processor_ns(), start = now_ns();
  /* A server that did not keep up with the rate has shown enough. */
  if (in_flight == 0) measure(options.seconds);
  const double seconds = (double)(now_ns() - start) / 1e9;
  tell(seconds, (double)(processor_ns() - processor) / 1e9);
}

static int one_of(const char* const* names, int count, const char* option, const char* text) {
  for (int i = 0; i < count; ++i)
    if (strcmp(names[i], text) == 0) return i;
  fprintf(stderr, "load: --%s=%s is not one of", option, text);
  for (int i = 0; i < count; ++i) fprintf(stderr, " %s", names[i]);
  fputc('\n', stderr);
  exit(2);
}

static double number(const char* option, const char* text, double least) {
  char* end;
  const double value = strtod(text, &end);
  if (*end || end == text || !(value >= least) || value > 1e9) {
    fprintf(stderr, "load: --%s=%s is not a number from %g on\n", option, text, least);
    exit(2);
  }
  return value;
}

static void read_options(int argc, char** argv) {
  static const struct option kOptions[] = {
      {"address", 1, 0, 'a'},     {"protocol", 1, 0, 'p'}, {"mode", 1, 0, 'm'},
      {"tls", 0, 0, 't'},         {"deflate", 0, 0, 'd'},  {"gate", 0, 0, 'g'},
      {"connections", 1, 0, 'c'}, {"pipeline", 1, 0, 'n'}, {"size", 1, 0, 's'},
      {"messages", 1, 0, 'k'},    {"seconds", 1, 0, 'S'},  {"warm_up", 1, 0, 'w'},
      {"rate", 1, 0, 'r'},        {"pid", 1, 0, 'P'},      {0}};
  for (int which = 0, letter; (letter = getopt_long(argc, argv, "", kOptions, &which)) != -1;) {
    const char* name = kOptions[which].name;
    switch (letter) {
      case 'a':
        options.address = optarg;
        break;
      case 'p':
        options.protocol = (enum protocol)one_of(kProtocols, 5, name, optarg);
        break;
      case 'm':
        options.mode = (enum mode)one_of(kModes, 6, name, optarg);
        break;
      case 't':
        options.tls = true;
        break;
      case 'd':
        options.deflate = true;
        break;
      case 'g':
        options.gate = true;
        break;
      case 'c':
        options.connections = (size_t)number(name, optarg, 1);
        break;
      case 'n':
        options.pipeline = (size_t)number(name, optarg, 1);
        break;
      case 's':
        options.size = (size_t)number(name, optarg, 1);
        break;
      case 'k':
        options.messages = (size_t)number(name, optarg, 1);
        break;
      case 'S':
        options.seconds = number(name, optarg, 0);
        break;
      case 'w':
        options.warm_up = number(name, optarg, 0);
        break;
      case 'r':
        options.rate = number(name, optarg, 1);
        break;
      case 'P':
        options.pid = (int)number(name, optarg, 1);
        break;
      default:
        exit(2);
    }
  }
  const char* wrong =
      optind != argc                                     ? "takes no arguments but --options"
      : !options.address                                 ? "--address=ADDRESS:PORT is missing"
      : options.deflate && options.protocol != WEBSOCKET ? "--deflate is for --protocol=websocket"
      : options.mode == RATE && options.rate < 1         ? "--mode=rate needs --rate"
      : options.mode == LOCKSTEP && options.messages < 1 ? "--mode=lockstep needs --messages"
                                                         : NULL;
  if (!wrong) return;
  fprintf(stderr, "load: %s\n", wrong);
  exit(2);
}

int main(int argc, char** argv) {
  read_options(argc, argv);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  net_make(&net, options.address, options.tls);
  wire_make(&net.wire, options.protocol, options.deflate, options.size, options.pipeline + 1);
  connections = allocate(options.connections * sizeof *connections);
  run();
  if (options.gate) {
    await_input(true);
  } else if (options.pid) {
    /* The end of so many connections is no part of what is measured next. */
    for (size_t i = 0; i < options.connections; ++i)
      if (connections[i].fd >= 0) connection_close(&connections[i]);
    await_sleep();
  }
  return 0;
}
